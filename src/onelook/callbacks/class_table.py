"""The numbers of an evaluation, class by class, as a table for the console."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from onelook.callbacks.console import SHORT, printable
from onelook.callbacks.number_table import classes_to_show, number_table
from onelook.metrics.fold_summary import CLASS_MEASURES
from onelook.structures.metrics import DetectionMetrics

WIDE = 80
COLUMNS = ("Images", "Labels", "P", "R", "F1", "mAP50", "mAP50-95")


def class_table(
    metrics: DetectionMetrics, names: Sequence[str], *, with_classes: bool = True, width: int = WIDE
) -> Table:
    """A table of precision, recall, F1 and average precision: all classes first, then those with the most labels.

    Precision, recall and F1 are taken at the confidence with the highest mean F1.

    Args:
        with_classes: a line for each class.
        width: of the console, in letters; narrow ones get short titles, which leave more to the names.
    """
    table = number_table("Class", *(SHORT.get(title, title) if width < WIDE else title for title in COLUMNS))
    means = metrics.precision, metrics.recall, metrics.f1, metrics.map50, metrics.map50_95
    table.add_row(Text("all"), *_cells(metrics.num_images, metrics.num_labels, means), style="bold")
    columns = [getattr(metrics, name) for name in CLASS_MEASURES.values()]
    rows = classes_to_show(metrics.class_num_labels.tolist()) if with_classes else []
    for row in rows:
        class_id = int(metrics.class_ids[row])
        name = printable(names[class_id]) if class_id < len(names) else f"class {class_id}"
        counts = int(metrics.class_num_images[row]), int(metrics.class_num_labels[row])
        table.add_row(Text(name), *_cells(*counts, tuple(float(column[row]) for column in columns)))
    if rows and (more := len(metrics.class_ids) - len(rows)):
        table.add_row(Text(f"and {more:,} more"))
    return table


def _cells(num_images: int, num_labels: int, values: Sequence[float]) -> tuple[str, ...]:
    return f"{num_images:,}", f"{num_labels:,}", *("-" if math.isnan(value) else f"{value:.3f}" for value in values)
