"""Several detectors as one: all boxes, merged by one NMS; the same classes and sizes, or a clear message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from colours import colour_detector
from test_predictor import sample_image
from test_tta import Fixed, restless_model

from onelook.errors import ModelError, SettingsError
from onelook.inference.backend import Backend, Thresholds, TorchBackend
from onelook.inference.ensemble import Ensemble, assembled
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.models.detector import create_model


def test_boxes_of_all_members_stand_one_after_the_other(tiny_model: Path) -> None:
    one, two = restless_model(tiny_model), create_model(str(tiny_model), names=("square", "disc"), seed=5)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    members = [TorchBackend(one), TorchBackend(two)]
    ensemble = assembled([one, two])
    expected = torch.cat([member.predict(images) for member in members], dim=1)
    assert torch.equal(ensemble.predict(images), expected)
    assert (ensemble.names, ensemble.num_classes, ensemble.stride) == (("square", "disc"), 2, 32)
    augmented = assembled([one, two], augment=True).predict(images)
    each = [assembled([model], augment=True).predict(images) for model in (one, two)]
    assert torch.equal(augmented, torch.cat(each, dim=1))


def test_what_two_detectors_see_comes_once_and_what_one_sees_comes_too() -> None:
    both, blind = colour_detector(), colour_detector()
    blind.model[0].conv.weight[1] = 0  # to green
    image = sample_image(64, 64, (8, 8, 8, 0), (40, 40, 8, 1))
    counts = [
        len(Predictor(models, PredictionSettings(imgsz=64)).predict([image])[0])
        for models in ([both], [blind], [both, blind], [blind, both])
    ]
    assert counts == [2, 1, 2, 2]


def test_one_detector_alone_is_no_ensemble() -> None:
    backend = TorchBackend(colour_detector())
    assert assembled([backend]) is backend


def test_members_with_limits_are_asked_within_them() -> None:
    free, narrow = TorchBackend(colour_detector()), Fixed(frame_hw=(64, 64), num_rows=3)
    ensemble = Ensemble([free, narrow])
    assert (ensemble.frame_hw, ensemble.stride) == ((64, 64), 16)
    assert ensemble.predict(torch.zeros(5, 3, 64, 64)).shape == (5, 64 + 3, 7)
    with pytest.raises(SettingsError, match="exported for 64 x 64 only"):
        Predictor([free, narrow], PredictionSettings(imgsz=96))
    (found,) = Predictor([narrow, free], PredictionSettings(imgsz=64)).predict([sample_image(64, 64, (8, 8, 8, 0))])
    np.testing.assert_allclose(found.boxes, [[8, 8, 16, 16]], atol=1e-3)


@pytest.mark.parametrize(
    ("other", "kind", "words"),
    [
        ({"names": ("red", "green", "blue")}, ModelError, "`a.pt` have 2 classes, `b.onnx` has 3"),
        ({"names": ("green", "red")}, ModelError, "class 0 is `red` in weights `a.pt` and `green` in `b.onnx`"),
        ({"frame_hw": (32, 96)}, SettingsError, "`a.pt` for 64 x 64, `b.onnx` for 32 x 96"),
        ({"thresholds": Thresholds(0.2, 0.4, 9)}, SettingsError, "weights `b.onnx` apply NMS themselves"),
    ],
)
def test_detectors_that_do_not_go_together_are_refused(
    other: dict[str, Any], kind: type[Exception], words: str
) -> None:
    members: list[Backend] = [Fixed(frame_hw=(64, 64)), Fixed(**other)]
    with pytest.raises(kind, match=words):
        Ensemble(members, ("a.pt", "b.onnx"))


def test_members_whose_classes_are_only_spelt_otherwise_are_taken_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ensemble = Ensemble([Fixed(), Fixed(names=("red", "lime"))], ("a.pt", "b.onnx"))
    assert ensemble.names == Fixed().names
    assert "class 1 is `green` and `lime`" in caplog.text


def test_half_is_for_models_of_pytorch() -> None:
    with pytest.raises(SettingsError, match="`half` is for PyTorch models"):
        assembled([Fixed()], half=True)
