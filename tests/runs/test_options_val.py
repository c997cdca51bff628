"""Settings of validation and detection that look at images in another way; each test fails if its setting is ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_world import World
from option_runs import Options, covers, fit
from test_options_val_detect import inputs_of, look

import onelook
from onelook.errors import ModelError, SettingsError
from onelook.structures.detections import Detections


def other_weights(world: World, options: Options, **changes: Any) -> Path:
    """Weights of the same classes that find other things than those of the world."""
    return fit(options, weights=world.weights, cfg="", epochs=3, batch_size=4, lr0=0.05, **changes).result.best


def same(one: Detections, other: Detections) -> bool:
    return len(one) == len(other) and np.allclose(one.boxes, other.boxes, atol=1e-3)


@covers("detect", "augment")
def test_augmented_detection_looks_three_times(world: World) -> None:
    assert inputs_of(look, world, augment=True, imgsz=[96]) == [(4, 3, 96, 96), (4, 3, 96, 96), (4, 3, 64, 64)]
    usual, augmented = (look(world, augment=augment).frames[0].detections for augment in (False, True))
    assert not same(usual, augmented)


@covers("detect", "weights")
def test_several_weights_detect_as_one(world: World, options: Options) -> None:
    other = other_weights(world, options)
    found = [
        look(world, weights=weights, iou_thres=1.0, max_det=100_000).frames[0].detections
        for weights in (world.weights, [other], [world.weights, str(other)])
    ]
    assert len(found[0]) + len(found[1]) == len(found[2]), "nothing is suppressed"
    assert len(look(world, weights=[world.weights, world.weights], iou_thres=0.99).frames[0].detections) == len(
        look(world, iou_thres=0.99).frames[0].detections
    ), "twice the same is once"


def test_weights_of_other_classes_are_no_ensemble(world: World, options: Options) -> None:
    one = fit(options, single_cls=True).result.best
    with pytest.raises(ModelError, match=r"have 2 classes, `.*best\.safetensors` have 1"):
        look(world, weights=[world.weights, one])


def test_exports_of_any_size_are_augmented_and_those_of_one_size_are_refused(world: World) -> None:
    exported = {
        dynamic: onelook.export(world.weights, format="torchscript", imgsz=64, device="cpu", dynamic=dynamic,
                                output=world.work / str(dynamic)).exports[0].path
        for dynamic in (True, False)
    }  # fmt: skip
    expected = look(world, augment=True).frames[0].detections
    assert same(look(world, weights=exported[True], augment=True).frames[0].detections, expected)
    with pytest.raises(SettingsError, match="exported for 64 x 64 only"):
        look(world, weights=exported[False], augment=True)
