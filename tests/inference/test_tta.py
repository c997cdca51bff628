"""Test-time augmentation equals a slow composition made by hand; detectors that cannot be augmented are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from colours import colour_detector
from test_predictor import sample_image
from torch import Tensor

from onelook.errors import ModelError, SettingsError
from onelook.geometry.nms import non_max_suppression
from onelook.inference.backend import Thresholds, TorchBackend
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.inference.tta import AugmentedDetector
from onelook.models.decoding import decode_anchors
from onelook.models.detector import DetectionModel, create_model


@dataclass
class Fixed:
    """A detector with these properties, which gives `num_rows` boxes."""

    frame_hw: tuple[int, int] | None = None
    thresholds: Thresholds | None = None
    needs_nms: bool = True
    map_strides: tuple[int, ...] | None = (8, 16)
    num_rows: int = 0
    max_batch: int | None = 1
    imgsz: int | None = None
    names: tuple[str, ...] = ("red", "green")
    num_classes: int = 2
    stride: int = 16
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def predict(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), self.num_rows, 7)


def restless_model(table: Path) -> DetectionModel:
    """A model with three maps that finds a lot."""
    model = create_model(str(table), names=("square", "disc")).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
        for convolution in model.head.m:
            convolution.bias.view(3, -1)[:, 4:] = 1.0
    return model


def by_hand(model: DetectionModel, image: Tensor) -> Tensor:
    """(1, N, 7) predictions of one (3, H, W) image: three views, one after the other, each map decoded alone."""
    _, height, width = image.shape
    rows = []
    for scale, is_mirrored, maps in ((1.0, False, (0, 1)), (0.83, True, (0, 1, 2)), (0.67, False, (1, 2))):
        pixels = image.permute(1, 2, 0).numpy()
        pixels = pixels[:, ::-1] if is_mirrored else pixels
        new_width, new_height = round(width * scale), round(height * scale)
        small = cv2.resize(pixels, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
        canvas = np.full((-(-new_height // 32) * 32, -(-new_width // 32) * 32, 3), 0.447, np.float32)
        canvas[:new_height, :new_width] = small
        raw = model(torch.from_numpy(canvas).permute(2, 0, 1)[None])
        grid = model.anchor_grid
        for number in maps:
            for row in decode_anchors(raw[number], grid.anchors[number], grid.strides[number])[0]:
                x, y, w, h = row[:4].tolist()
                x, y, w, h = (
                    x * width / new_width,
                    y * height / new_height,
                    w * width / new_width,
                    h * height / new_height,
                )
                rows.append([width - x if is_mirrored else x, y, w, h, *row[4:].tolist()])
    return torch.tensor([rows])


@torch.no_grad()
def test_the_three_views_are_those_made_by_hand(tiny_model: Path) -> None:
    model = restless_model(tiny_model)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    found = AugmentedDetector(TorchBackend(model)).predict(images)
    expected = torch.cat([by_hand(model, image) for image in images])
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


@torch.no_grad()
def test_augmented_detections_are_those_made_by_hand(tiny_model: Path) -> None:
    model = restless_model(tiny_model)
    image = np.random.Generator(np.random.Philox(key=5)).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    settings = PredictionSettings(imgsz=96, conf_thres=0.5, augment=True)
    (found,) = Predictor(model, settings).predict([image])
    rows = by_hand(model, torch.from_numpy(image).permute(2, 0, 1) / 255)
    (expected,) = non_max_suppression(rows, conf_thres=0.5, iou_thres=0.45, max_det=1000, multi_label=False)
    assert len(found) == len(expected) > 5
    columns = [found.boxes, found.scores[:, None] * 100, found.class_ids[:, None] * 100]
    wanted = torch.cat([expected[:, :4].clamp(0, 96), expected[:, 4:] * 100], dim=1).numpy()
    distances = np.abs(np.concatenate(columns, axis=1)[:, None] - wanted).max(axis=2)
    assert (distances.min(axis=0) < 0.01).all() and (distances.min(axis=1) < 0.01).all()
    (plain,) = Predictor(model, PredictionSettings(imgsz=96, conf_thres=0.5)).predict([image])
    assert len(plain) != len(found) or not np.allclose(plain.boxes, found.boxes, atol=0.1), "or this tests nothing"


def test_all_boxes_of_a_single_map_are_kept() -> None:
    backend = TorchBackend(colour_detector())
    assert backend.predict(torch.zeros(1, 3, 64, 64)).shape == (1, 64, 7)
    assert AugmentedDetector(backend).predict(torch.zeros(1, 3, 64, 64)).shape == (1, 64 + 49 + 36, 7)


def test_boxes_of_large_objects_agree_over_the_views() -> None:
    settings = PredictionSettings(imgsz=64, iou_thres=0.99, conf_thres=0.6, augment=True)
    (found,) = Predictor(colour_detector(), settings).predict([sample_image(64, 64, (8, 16, 32, 0))])
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert len(found) > 16 and (centres > [8, 16]).all() and (centres < [40, 48]).all()
    widths = {round(float(width), 1) for width in found.boxes[:, 2] - found.boxes[:, 0]}
    assert widths == {8.0, round(8 * 64 / 53, 1), round(8 * 64 / 43, 1)}


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        (Fixed(frame_hw=(64, 96)), "exported for 64 x 96 only\nhint: drop `--augment`, or export with `--dynamic`"),
        (Fixed(thresholds=Thresholds(0.25, 0.45, 10)), "needs all boxes; the export applies NMS"),
        (Fixed(map_strides=None), "needs to know the model's maps"),
    ],
)
def test_detectors_that_cannot_be_augmented_are_refused(detector: Fixed, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        AugmentedDetector(detector)


def test_a_number_of_boxes_that_does_not_suit_the_maps_is_refused() -> None:
    with pytest.raises(ModelError, match="gives 7 boxes for 20 cells"):
        AugmentedDetector(Fixed(num_rows=7)).predict(torch.zeros(1, 3, 32, 32))
