"""The face that all back ends share: PyTorch's copy, batches in parts, thresholds of exports that apply NMS."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from colours import colour_detector
from test_predictor import sample_image

from onelook.errors import ModelError, SettingsError
from onelook.inference.backend import Thresholds, TorchBackend, check_thresholds, predict_all, refuse_other_names
from onelook.inference.predictor import PredictionSettings, Predictor


@dataclass
class Exported:
    """The colour detector as an exported one would be: one size, one image at a time."""

    frame_hw: tuple[int, int] | None = (64, 64)
    max_batch: int | None = 1
    imgsz: int | None = None
    thresholds: Thresholds | None = None
    needs_nms: bool = True
    calls: list[tuple[int, ...]] = field(default_factory=list)
    names: tuple[str, ...] = ("red", "green")
    num_classes: int = 2
    stride: int = 8
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(tuple(images.shape))
        return TorchBackend(colour_detector()).predict(images)


def test_torch_backend_gives_the_decoded_maps_of_the_model() -> None:
    model, images = colour_detector(), torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    backend = TorchBackend(model)
    predictions = backend.predict(images)
    assert predictions.shape == (2, 6, 7) and predictions.dtype == torch.float32
    torch.testing.assert_close(predictions, model.decode(model(images)))
    assert (backend.names, backend.num_classes, backend.stride) == (("red", "green"), 2, 8)
    assert (backend.frame_hw, backend.max_batch, backend.thresholds) == (None, None, None)


def test_half_needs_a_gpu() -> None:
    with pytest.raises(SettingsError, match="`half` needs a GPU"):
        TorchBackend(colour_detector(), half=True)


def test_large_batches_go_through_in_parts() -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    backend = Exported()
    assert torch.equal(predict_all(backend, images), TorchBackend(colour_detector()).predict(images))
    assert backend.calls == [(1, 3, 64, 64)] * 3
    assert predict_all(backend, images[:0]).shape == (0, 64, 7)


def test_an_exported_model_finds_what_the_model_finds_in_its_only_frame() -> None:
    images = [sample_image(64, 64, (8, 8, 8, 0)), sample_image(128, 128, (32, 16, 16, 1))]
    backend = Exported()
    found = Predictor(backend, PredictionSettings(imgsz=64)).predict(images)
    expected = Predictor(colour_detector(), PredictionSettings(imgsz=64)).predict(images)
    assert set(backend.calls) == {(1, 3, 64, 64)}
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-4)
        assert one.class_ids.tolist() == other.class_ids.tolist() != []


def test_another_size_than_the_exported_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="exported for 64 x 64 only\nhint: use `--imgsz 64 64`"):
        Predictor(Exported(), PredictionSettings(imgsz=128))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"conf_thres": 0.1}, "`conf_thres` is 0.1, the export has 0.25"),
        ({"iou_thres": 0.5}, "`iou_thres` is 0.5, the export has 0.45"),
        ({"max_det": 11}, "`max_det` is 11, the export has 10"),
        ({"agnostic_nms": True}, "`agnostic_nms` is True, the export has False"),
    ],
)
def test_thresholds_that_an_export_cannot_meet_are_refused(asked: dict[str, Any], words: str) -> None:
    backend = Exported(thresholds=Thresholds(conf_thres=0.25, iou_thres=0.45, max_det=10))
    possible = Thresholds(conf_thres=0.5, iou_thres=0.45, max_det=10)
    check_thresholds(backend, possible)
    with pytest.raises(SettingsError, match=words):
        check_thresholds(backend, replace(possible, **asked))


def test_nms_across_classes_is_the_same_where_there_is_one_class_or_no_nms() -> None:
    done = Thresholds(conf_thres=0.25, iou_thres=0.45, max_det=10)
    for backend in (
        Exported(thresholds=done, names=("red",), num_classes=1),
        Exported(thresholds=done, needs_nms=False),
    ):
        check_thresholds(backend, replace(done, agnostic_nms=True))


def test_half_is_decided_at_the_export() -> None:
    with pytest.raises(SettingsError, match="export with `--half`"):
        Predictor(Exported(), PredictionSettings(imgsz=64, half=True))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("disc", "square"), "class 0 is `square` in weights `w.pt` and `disc` in `d.yaml`"),
        (("square", "disc", "star"), "weights `w.pt` have 2 classes, `d.yaml` has 3"),
        (("square", "ring"), None),
    ],
)
def test_weights_whose_class_ids_mean_something_else_are_refused(
    names: tuple[str, ...], problem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    def compare() -> None:
        refuse_other_names(("square", "disc"), names, weights="w.pt", other="d.yaml")

    if problem is None:
        compare()
        assert "class 1 is `disc` and `ring`" in caplog.text
        return
    with pytest.raises(ModelError, match=re.escape(problem)):
        compare()
