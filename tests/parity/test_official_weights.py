"""The official yolov5n.pt gives the published numbers. The file is not part of this repository."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch

from onelook.interop.detector_weights import Weights
from onelook.interop.yolov5_weights import read_yolov5
from onelook.models.fuse import fuse
from onelook.settings.train import TrainSettings
from onelook.training.weights import load_detector, starting_model

VARIABLE = "ONELOOK_YOLOV5N"
WITHIN = 1e-4  # relative


@pytest.fixture(scope="module")
def path() -> Path:
    if VARIABLE not in os.environ:
        reason = f"the official weights were not checked: set {VARIABLE} to the path of yolov5n.pt of v6.1"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    return Path(os.environ[VARIABLE])


@pytest.fixture(scope="module")
def weights(path: Path) -> Weights:
    return read_yolov5(path)


def test_all_numbers_are_read(weights: Weights) -> None:
    assert len(weights.tensors) == 349 and (weights.part, weights.epoch) == ("model", -1)
    assert weights.date.startswith("2022-02-08")
    assert len(weights.names) == 80 and weights.names[:3] == ("person", "bicycle", "car")
    total = sum(x.double().abs().sum().item() for x in weights.tensors.values() if x.is_floating_point())
    assert total == pytest.approx(51254.339, rel=WITHIN)
    first = weights.tensors["model.0.conv.weight"].flatten()[:4].tolist()
    assert first == pytest.approx([-0.0039368, -0.1159668, -0.0577087, -0.0252838], rel=WITHIN)
    bias = weights.tensors["model.24.m.1.bias"][:4].tolist()
    assert bias == pytest.approx([0.0671997, -0.0525208, 0.6591797, 0.1011353], rel=WITHIN)
    assert weights.tensors["model.24.anchors"].tolist() == [
        [[1.25, 1.625], [2, 3.75], [4.125, 2.875]],
        [[1.875, 3.8125], [3.875, 2.8125], [3.6875, 7.4375]],
        [[3.625, 2.8125], [4.875, 6.1875], [11.65625, 10.1875]],
    ]


def test_a_black_image_gives_the_published_output(path: Path) -> None:
    model = fuse(load_detector(path))
    with torch.no_grad():
        output = model.decode(model(torch.zeros(1, 3, 64, 64)))
    assert output.shape == (1, 252, 85)
    first = [3.66308, 5.09818, 7.54472, 7.88154, 0.000268854, 0.340941]
    last = [51.22017, 34.99480, 136.70123, 90.72914, 3.59915e-05, 0.295915]
    assert output[0, 0, :6].tolist() == pytest.approx(first, rel=WITHIN)
    assert output[0, -1, :6].tolist() == pytest.approx(last, rel=WITHIN)
    assert output.double().sum().item() == pytest.approx(34975.63, rel=WITHIN)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("bee", "wasp", "fly"), "343 of 349 tensors reused"),
        (("bee", "cat", "dog"), "349 of 349 tensors reused, the outputs of 2 classes by name"),
    ],
)
def test_other_classes_take_over_what_fits(path: Path, names: tuple[str, ...], says: str) -> None:
    start = starting_model(TrainSettings(weights=str(path)), names)
    assert str(start.report) == says and start.label == path.stem and not start.has_new_anchors


def test_a_definition_beside_the_weights_brings_its_own_anchors(path: Path) -> None:
    start = starting_model(TrainSettings(weights=str(path), cfg="yolov5n"), ("bee", "wasp"))
    assert start.report is not None and start.report.copied == 342 and start.has_new_anchors
    assert start.report.skipped["model.24.anchors"] == "excluded by `anchor`"
