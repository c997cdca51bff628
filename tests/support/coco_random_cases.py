"""Random evaluation problems with everything that makes COCO's rules bite."""

from __future__ import annotations

import numpy as np

from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

Case = tuple[list[ImageLabels], list[Detections], int]


def random_case(seed: int, *, most_detections: int = 40) -> Case:
    """Empty images, missing classes, tied scores, duplicate boxes, crowds, areas unlike the boxes."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    num_classes = int(rng.integers(1, 5))
    scale = float(rng.choice([30, 120, 400]))
    on_grid = rng.random() < 0.4
    all_labels, detections = [], []
    for _ in range(int(rng.integers(1, 7))):
        own = _labels(rng, num_classes, scale, on_grid)
        all_labels.append(own)
        detections.append(_detections(rng, own, num_classes, scale, on_grid, most_detections))
    return all_labels, detections, num_classes


def _boxes(rng: np.random.Generator, count: int, scale: float, on_grid: bool) -> np.ndarray:
    corner = rng.random((count, 2)) * scale
    size = np.exp(rng.normal(0, 0.8, (count, 2))) * scale / 4
    boxes = np.concatenate([corner, corner + size], axis=1)
    return np.round(boxes / (scale / 8)) * (scale / 8) if on_grid else boxes


def _labels(rng: np.random.Generator, num_classes: int, scale: float, on_grid: bool) -> ImageLabels:
    count = int(rng.integers(0, 9)) if rng.random() < 0.8 else 0
    boxes = _boxes(rng, count, scale, on_grid)
    if count > 2 and rng.random() < 0.3:
        boxes[1] = boxes[0]
    with_crowd = rng.random() < 0.5
    with_areas = rng.random() < 0.5
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) * rng.uniform(0.4, 1.0, count)
    return ImageLabels(
        boxes=boxes,
        class_ids=rng.integers(0, max(1, num_classes - 1), count),
        is_crowd=rng.random(count) < 0.25 if with_crowd else None,
        areas=areas if with_areas else None,
    )


def _detections(
    rng: np.random.Generator, own: ImageLabels, num_classes: int, scale: float, on_grid: bool, most: int
) -> Detections:
    count = int(rng.integers(0, most + 1)) if rng.random() < 0.85 else 0
    boxes, class_ids = _boxes(rng, count, scale, on_grid), rng.integers(0, num_classes, count)
    labels = len(own.class_ids)
    if labels and count:
        copies = rng.integers(0, labels, count)
        noise = 0.0 if on_grid else scale * float(rng.choice([0.005, 0.03]))
        is_copy = rng.random(count) < 0.7
        boxes[is_copy] = (own.boxes[copies] + rng.normal(0, noise, (count, 4)))[is_copy]
        class_ids[is_copy] = own.class_ids[copies][is_copy]
        boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])
    scores = rng.random(count) if rng.random() < 0.5 else rng.integers(0, 6, count) / 5
    order = np.argsort(-scores, kind="stable") if rng.random() < 0.7 else np.arange(count)
    return Detections(boxes[order].astype(np.float32), scores[order].astype(np.float32), class_ids[order])
