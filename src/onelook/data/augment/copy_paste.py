"""Pasting objects with polygons, mirrored, into the same image.

After G. Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method", 2021. We paste within one image
and mirror it about its own middle, before it becomes part of a mosaic: an object stays in its own scene and scale.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.structures.dataset_index import DatasetIndex

MAX_COVERED = 0.3  # of any label that is there already


def draw_pastes(rng: np.random.Generator, index: DatasetIndex, image: int, fraction: float) -> tuple[int, ...]:
    """Label numbers of `image` whose mirrored copies are pasted: a fraction of those with a polygon, where they fit.

    A copy fits if it covers less than 0.3 of every label, the copies before it included.
    """
    rows = index.labels_of(image)
    points_per_label = np.diff(index.polygon_offsets[rows.start : rows.stop + 1])
    with_polygon = rows.start + np.flatnonzero(points_per_label)
    wanted = rng.permutation(with_polygon)[: round(fraction * len(with_polygon))]
    present = cxcywh_to_xyxy(index.boxes[rows].astype(np.float64))
    accepted: list[int] = []
    for label in wanted.tolist():
        copy = mirrored(present[label - rows.start])
        if bool(np.all(_covered_fraction(present, copy) < MAX_COVERED)):
            accepted.append(label)
            present = np.concatenate([present, copy[None]])
    return tuple(accepted)


def mirrored(boxes_xyxy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Boxes (..., 4) as fractions of an image, mirrored left to right."""
    result: npt.NDArray[np.float64] = boxes_xyxy[..., [2, 1, 0, 3]] * (-1, 1, -1, 1) + (1, 0, 1, 0)
    return result


def paste_mirrored(image: npt.NDArray[np.uint8], index: DatasetIndex, labels: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A copy of `image` (H, W, 3) with mirrored copies of these labels' objects."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for label in labels:
        polygon = index.polygon_of(label)
        if polygon is not None:
            # sixteenths of a pixel, counted from pixel centres
            points = np.round((polygon * (width, height) - 0.5) * 16).astype(np.int32)
            cv2.fillPoly(mask, [points], 1, shift=4)
    result: npt.NDArray[np.uint8] = image.copy()
    cv2.copyTo(cv2.flip(image, 1), cv2.flip(mask, 1), dst=result)
    return result


def _covered_fraction(boxes: npt.NDArray[np.float64], cover: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How much of each box (N, 4) xyxy lies under `cover` (4,), 0 to 1."""
    overlap = np.clip(np.minimum(boxes[:, 2:], cover[2:]) - np.maximum(boxes[:, :2], cover[:2]), 0, None)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    covered: npt.NDArray[np.float64] = overlap.prod(axis=1) / np.maximum(area, 1e-16)
    return covered
