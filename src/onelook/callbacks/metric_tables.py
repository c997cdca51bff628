"""Metrics as tables for the console: per class, per fold, and of several models or sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from onelook.callbacks.console import SHORT, for_terminal
from onelook.callbacks.number_table import classes_to_show, number_table
from onelook.metrics.fold_summary import CLASS_MEASURES, FoldScore, FoldSummary, Spread
from onelook.structures.metrics import DetectionMetrics

WIDE = 80
COLUMNS = ("Images", "Labels", "P", "R", "F1", "mAP50", "mAP50-95")
FOLD_COLUMNS = {"P": "precision", "R": "recall", "mAP50": "map50", "mAP50-95": "map50_95"}
TIMES = ("load", "inference", "nms")


def class_table(
    metrics: DetectionMetrics, names: Sequence[str], *, with_classes: bool = True, width: int = WIDE
) -> Table:
    """A table of precision, recall, F1 and average precision: all classes first, then those with the most labels.

    Precision, recall and F1 are taken at the confidence with the highest mean F1.

    Args:
        with_classes: a line for each class.
        width: columns of the console; a narrow one gets short titles, so that names have more room.
    """
    table = number_table("Class", *(SHORT.get(title, title) if width < WIDE else title for title in COLUMNS))
    means = metrics.precision, metrics.recall, metrics.f1, metrics.map50, metrics.map50_95
    table.add_row(Text("all"), *_counts(metrics.num_images, metrics.num_labels), *map(_number, means), style="bold")
    columns = [getattr(metrics, name) for name in CLASS_MEASURES.values()]
    rows = classes_to_show(metrics.class_num_labels.tolist()) if with_classes else []
    for row in rows:
        counts = _counts(metrics.class_num_images[row], metrics.class_num_labels[row])
        table.add_row(_name(names, int(metrics.class_ids[row])), *counts, *(_number(column[row]) for column in columns))
    if rows and (more := len(metrics.class_ids) - len(rows)):
        table.add_row(Text(f"and {more:,} more"))
    return table


def fold_table(scores: Sequence[FoldScore], summary: FoldSummary) -> Table:
    """A line for each fold, then the mean and the sample standard deviation of all."""
    table = number_table("Fold", "Epochs", "Best", "Images", "Labels", *FOLD_COLUMNS)
    for number, score in enumerate(scores, start=1):
        counts = _counts(score.epochs, score.best_epoch, score.metrics.num_images, score.metrics.num_labels)
        values = (_number(getattr(score.metrics, name)) for name in FOLD_COLUMNS.values())
        table.add_row(Text(for_terminal(score.name)), *counts, *values, end_section=number == len(scores))
    blank = ("", "", *_counts(summary.num_images, summary.num_labels))
    spreads = [summary.spreads[name] for name in FOLD_COLUMNS.values()]
    table.add_row(Text("mean"), *blank, *(_number(one.mean) for one in spreads), style="bold")
    table.add_row(Text("deviation"), *[""] * len(blank), *(_number(one.sd) for one in spreads))
    return table


def class_spread_table(summary: FoldSummary, names: Sequence[str], *, sign: str = "±") -> Table:
    """A line for each class: mean and sample standard deviation of its average precision, and how far it ranges."""
    table = number_table("Class", "Folds", "Labels", "mAP50", "mAP50-95", "from", "to")
    for one in summary.classes:
        spread = one.spreads["ap50_95"]
        cells = (_both(one.spreads["ap50"], sign), _both(spread, sign), _number(spread.lowest), _number(spread.highest))
        table.add_row(_name(names, one.class_id), f"{one.num_folds}", f"{one.num_labels:,}", *cells)
    return table


def series_table(rows: Sequence[tuple[str, int, DetectionMetrics, Mapping[str, float]]]) -> Table:
    """A table with a line for each measurement: weights, size, average precision, milliseconds per image.

    Weights are named in the first of their lines.
    """
    table = number_table("Weights", "Size", "mAP50", "mAP50-95", *(f"{name} ms" for name in TIMES))
    named = ""
    for weights, imgsz, metrics, milliseconds in rows:
        numbers = [str(imgsz), f"{metrics.map50:.3f}", f"{metrics.map50_95:.3f}"]
        name, named = "" if weights == named else for_terminal(weights), weights
        table.add_row(Text(name), *numbers, *(f"{milliseconds[name]:.1f}" for name in TIMES))
    return table


def _name(names: Sequence[str], class_id: int) -> Text:
    return Text(for_terminal(names[class_id]) if class_id < len(names) else f"class {class_id}")


def _counts(*counts: int) -> Iterable[str]:
    return (f"{count:,}" for count in counts)


def _both(spread: Spread, sign: str) -> str:
    return f"{_number(spread.mean)} {sign} {_number(spread.sd)}"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
