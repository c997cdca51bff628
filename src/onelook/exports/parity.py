"""Whether an export computes what the model computes: the same images through both, all rows compared.

Letters: B images, H, W pixels, N boxes of an image, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from onelook.exports.layouts import best_pairs, from_detections
from onelook.exports.metadata import Metadata
from onelook.geometry.nms import non_max_suppression
from onelook.inference.backend import Backend, Thresholds, predict_all
from onelook.models.decoding import confidences

SMOOTH_PX = 16
BORDERLINE = 1e-3
"""Detections whose score is this close to the threshold may be found by one and missed by the other."""


@dataclass(frozen=True)
class Tolerance:
    """What counts as equal.

    Attributes:
        box_px: largest difference of a corner, pixels.
        score: largest difference of a score.
    """

    box_px: float
    score: float


TOLERANCES: dict[str, Tolerance | None] = {
    "fp32": Tolerance(box_px=0.5, score=1e-3),
    "fp16": Tolerance(box_px=16.0, score=1e-2),  # 3 digits, and rows of no object count: boxes of up to 1500 px
    "int8": None,  # judged by the mean average precision alone
}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        shape: shape of the images, (B, 3, H, W).
        box_px: largest difference of a corner, pixels.
        score: largest difference of objectness times class score.
        unpaired: detections that only one of the two has; 0 where all rows are compared.
        detections: number of detections of the model; None where all rows are compared.
    """

    shape: tuple[int, ...]
    box_px: float
    score: float
    unpaired: int = 0
    detections: int | None = None

    def is_within(self, tolerance: Tolerance | None) -> bool:
        """Whether the two count as equal."""
        if tolerance is None:
            return True
        return self.box_px < tolerance.box_px and self.score < tolerance.score and self.unpaired == 0


def shapes_for(metadata: Metadata, imgsz_hw: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Number, height and width of the images to compare on: full, not square, and more or fewer at a time."""
    height, width = imgsz_hw
    low, narrow = (max(metadata.stride, side // 2 // metadata.stride * metadata.stride) for side in imgsz_hw)
    several = metadata.batch or 3
    if metadata.frame_hw is not None:
        return [(several, height, width), *([(several - 1, height, width)] if several > 1 else [])]
    return [(1, height, width), (several, height, narrow), (max(1, several - 1), low, width)]


def compare(
    reference: Backend, export: Backend, shapes: Sequence[tuple[int, int, int]], *, best: int | None = None
) -> list[Case]:
    """How far `export` is from `reference`, for images of each of the shapes.

    Args:
        shapes: number, height and width of the images.
        best: number of (box, class) pairs that the export gives; None for all boxes. Pairs are compared as sets: run
            times that differ in the last digit put near ties in another order.
    """
    cases = []
    for number, (count, height, width) in enumerate(shapes):
        images = synthetic_images(count, (height, width), key=number)
        expected, found = predict_all(reference, images), predict_all(export, images)
        thresholds = export.thresholds
        if best is not None:
            expected = from_detections(best_pairs(expected, best), reference.num_classes)
            thresholds = Thresholds(float(confidences(expected).amax(-1).min()), iou_thres=1.0, max_det=best)
        case = _all_rows(expected, found) if thresholds is None else _detections(expected, found, thresholds)
        cases.append(Case((count, 3, height, width), *case))
    return cases


def synthetic_images(count: int, size_hw: tuple[int, int], *, key: int) -> Tensor:
    """(count, 3, H, W) float32 from 0 to 1: coloured clouds with grain, always the same for the same arguments."""
    rng = np.random.Generator(np.random.Philox(key=key))
    height, width = size_hw
    coarse = rng.random((count, 3, height // SMOOTH_PX + 2, width // SMOOTH_PX + 2), dtype=np.float32)
    clouds = torch.nn.functional.interpolate(torch.from_numpy(coarse), size=size_hw, mode="bilinear")
    grain = torch.from_numpy(rng.random((count, 3, height, width), dtype=np.float32))
    return clouds * 0.8 + grain * 0.2


def _all_rows(expected: Tensor, found: Tensor) -> tuple[float, float]:
    if expected.shape != found.shape:
        return float("inf"), float("inf")
    apart = (expected[..., :4] - found[..., :4]).abs()  # of centre and size
    corners_apart = apart[..., :2] + apart[..., 2:] / 2  # at most
    return _largest(corners_apart), _largest(confidences(expected) - confidences(found))


def _largest(differences: Tensor) -> float:
    """The largest magnitude; infinite if any is not a number."""
    if differences.numel() == 0:
        return 0.0
    worst = float(differences.abs().max())
    return worst if worst == worst else float("inf")


def _detections(expected: Tensor, found: Tensor, thresholds: Thresholds) -> tuple[float, float, int, int]:
    """Difference of what is detected, and how much; the two are paired by class and position."""
    box_px, score, unpaired, count = 0.0, 0.0, 0, 0
    for ours, theirs in zip(_after_nms(expected, thresholds), _after_nms(found, thresholds), strict=True):
        free, count = torch.ones(len(theirs), dtype=torch.bool), count + len(ours)
        for row in ours:
            apart = (theirs[:, :4] - row[:4]).abs().amax(1) + torch.where(free & (theirs[:, 5] == row[5]), 0, torch.inf)
            nearest = int(apart.argmin()) if len(theirs) else -1
            if nearest < 0 or apart[nearest] > TOLERANCES["fp16"].box_px:  # type: ignore[union-attr]
                unpaired += int(row[4] > thresholds.conf_thres + BORDERLINE)
                continue
            free[nearest] = False
            box_px = max(box_px, float(apart[nearest]))
            score = max(score, abs(float(theirs[nearest, 4] - row[4])))
        unpaired += int((theirs[free, 4] > thresholds.conf_thres + BORDERLINE).sum())
    return box_px, score, unpaired, count


def _after_nms(predictions: Tensor, thresholds: Thresholds) -> list[Tensor]:
    return non_max_suppression(predictions, **asdict(thresholds), multi_label=False)
