"""The numbers of several folds, summed up: mean, sample standard deviation and range, in all and per class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onelook.structures.confusion_cells import sum_of_cells
from onelook.structures.metrics import Array, DetectionMetrics

# Attributes of `DetectionMetrics`; and names of the numbers of a class -> theirs.
MEASURES = ("precision", "recall", "f1", "map50", "map75", "map50_95", "fitness")
CLASS_MEASURES = {
    "precision": "class_precision",
    "recall": "class_recall",
    "f1": "class_f1",
    "ap50": "class_ap50",
    "ap50_95": "class_ap",
}


@dataclass(frozen=True)
class FoldScore:
    """What training on one fold gave.

    Attributes:
        epochs: done.
        best_epoch: whose weights were measured, from 0.
        metrics: metrics of these weights on the validation split.
        environments: versions and machines, one for each that the training met; see `run.json`.
    """

    name: str
    run_folder: Path
    epochs: int
    best_epoch: int
    metrics: DetectionMetrics
    environments: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Spread:
    """A number that each fold gives.

    Attributes:
        sd: sample standard deviation, with n - 1 in the denominator; nan for a single fold.
    """

    mean: float
    sd: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class ClassSummary:
    """One class in the folds that have labels of it in their validation split.

    Attributes:
        num_folds: number of folds that have labels of it.
        num_images, num_labels: validation images that show it, and its labels, in all folds together.
        spreads: spreads by the names of `CLASS_MEASURES`.
    """

    class_id: int
    num_folds: int
    num_images: int
    num_labels: int
    spreads: Mapping[str, Spread]


@dataclass(frozen=True)
class FoldSummary:
    """Several folds summed up.

    Attributes:
        num_images, num_labels: validated, in all folds together.
        spreads: spreads by the names of `MEASURES`.
        classes: those that have labels in any validation split, by number.
        confusion_cells: sum of those of the folds: each image counts in the one fold that validates on it.
    """

    num_images: int
    num_labels: int
    spreads: Mapping[str, Spread]
    classes: tuple[ClassSummary, ...]
    num_classes: int
    confusion_cells: Array


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard deviation and range of the numbers that are finite; nan where there are too few.

    >>> spread([0.5, 0.7])
    Spread(mean=0.6, sd=0.14142135623730948, lowest=0.5, highest=0.7)
    """
    known = [float(value) for value in values if math.isfinite(value)]
    if not known:
        return Spread(math.nan, math.nan, math.nan, math.nan)
    mean = math.fsum(known) / len(known)
    squares = math.fsum((value - mean) ** 2 for value in known)
    sd = math.sqrt(squares / (len(known) - 1)) if len(known) > 1 else math.nan
    return Spread(mean, sd, min(known), max(known))


def sum_up(folds: Sequence[DetectionMetrics]) -> FoldSummary:
    """The summary of one or more folds of the same classes."""
    class_ids = sorted({int(class_id) for metrics in folds for class_id in metrics.class_ids})
    return FoldSummary(
        num_images=sum(metrics.num_images for metrics in folds),
        num_labels=sum(metrics.num_labels for metrics in folds),
        spreads={name: spread([getattr(metrics, name) for metrics in folds]) for name in MEASURES},
        classes=tuple(_class_summary(folds, class_id) for class_id in class_ids),
        num_classes=folds[0].num_classes,
        confusion_cells=sum_of_cells([metrics.confusion_cells for metrics in folds]),
    )


def _class_summary(folds: Sequence[DetectionMetrics], class_id: int) -> ClassSummary:
    rows = [(metrics, int(row)) for metrics in folds for row in np.flatnonzero(metrics.class_ids == class_id)]
    return ClassSummary(
        class_id=class_id,
        num_folds=len(rows),
        num_images=sum(int(metrics.class_num_images[row]) for metrics, row in rows),
        num_labels=sum(int(metrics.class_num_labels[row]) for metrics, row in rows),
        spreads={
            name: spread([float(getattr(metrics, attribute)[row]) for metrics, row in rows])
            for name, attribute in CLASS_MEASURES.items()
        },
    )
