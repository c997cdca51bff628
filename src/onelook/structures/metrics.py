"""The numbers an evaluation gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.structures.confusion_cells import cells_of, matrix_of
from onelook.structures.results import fitness_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class MetricCurves:
    """What the curve plots draw; K classes that have labels, in the order of `DetectionMetrics.class_ids`.

    Attributes:
        confidence: (1000,) 0 to 1, the x axis of the three `*_at_confidence` arrays.
        precision: (K, 1000) at IoU 0.50.
        recall: (K, 1000) at IoU 0.50.
        f1: (K, 1000) at IoU 0.50.
        recall_points: (101,) 0, 0.01, ..., 1: the x axis of `precision_at_recall`.
        precision_at_recall: (K, 101) interpolated precision at IoU 0.50, COCO's definition.
    """

    confidence: Array
    precision: Array
    recall: Array
    f1: Array
    recall_points: Array
    precision_at_recall: Array


@dataclass(frozen=True)
class DetectionMetrics:
    """Everything an evaluation says; fractions from 0 to 1. Per-class arrays cover the K classes that have labels.

    Attributes:
        precision, recall, f1: means over classes at `best_confidence`, the confidence of the highest mean F1.
        map50, map75, map50_95: COCO's average precision, mean over classes that have labels.
        map_small, map_medium, map_large: COCO's AP by area, split at 32^2 and 96^2 px; nan where no such object exists.
        class_ids: (K,) the classes that have labels.
        class_precision, class_recall, class_f1, class_ap50, class_ap: (K,).
        class_num_images, class_num_labels: (K,) int.
        num_images, num_labels: totals, images without labels counted.
        best_confidence: see above.
        curves: what the plots draw.
        num_classes: number of classes of the model, with labels or not.
        confusion_cells: see `confusion_cells.py`.
    """

    precision: float
    recall: float
    f1: float
    map50: float
    map75: float
    map50_95: float
    map_small: float
    map_medium: float
    map_large: float
    class_ids: Array
    class_precision: Array
    class_recall: Array
    class_f1: Array
    class_ap50: Array
    class_ap: Array
    class_num_images: Array
    class_num_labels: Array
    num_images: int
    num_labels: int
    best_confidence: float
    curves: MetricCurves
    num_classes: int
    confusion_cells: Array

    @property
    def confusion(self) -> Array:
        """(num_classes + 1, num_classes + 1) int counts, rows predicted, columns true, the last of each is background.

        Built on every access; of 10,000 classes it has 800 MB.
        """
        return matrix_of(self.confusion_cells, self.num_classes)

    @property
    def fitness(self) -> float:
        """What "best" means."""
        return fitness_of(self.map50, self.map50_95)


def as_arrays(metrics: DetectionMetrics) -> dict[str, Array]:
    """All numbers of `metrics` by name: single ones as arrays without dimensions, the curves as `curves/...`."""
    plain = {field.name: getattr(metrics, field.name) for field in fields(metrics) if field.name != "curves"}
    curves = {f"curves/{field.name}": getattr(metrics.curves, field.name) for field in fields(metrics.curves)}
    return {name: np.asarray(value) for name, value in {**plain, **curves}.items()}


def from_arrays(arrays: Mapping[str, Array]) -> DetectionMetrics:
    """The inverse of `as_arrays`; KeyError if an array is missing."""
    curves = MetricCurves(**{field.name: arrays[f"curves/{field.name}"] for field in fields(MetricCurves)})
    names = [field.name for field in fields(DetectionMetrics) if field.name != "curves"]
    if "confusion" in arrays:  # of runs before cells were stored
        dense = arrays["confusion"]
        arrays = {**arrays, "num_classes": np.array(len(dense) - 1), "confusion_cells": cells_of(dense)}
    plain: dict[str, Any] = {name: arrays[name].item() if arrays[name].ndim == 0 else arrays[name] for name in names}
    return DetectionMetrics(curves=curves, **plain)
