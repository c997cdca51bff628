"""Precision and time of several models or sizes as a table for the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from onelook.callbacks.console import printable
from onelook.callbacks.number_table import number_table
from onelook.structures.metrics import DetectionMetrics

TIMES = ("load", "inference", "nms")


def series_table(rows: Sequence[tuple[str, int, DetectionMetrics, Mapping[str, float]]]) -> Table:
    """A table with a line for each measurement: weights, size, average precision, milliseconds per image.

    Weights are named in the first of their lines.
    """
    table = number_table("Weights", "Size", "mAP50", "mAP50-95", *(f"{name} ms" for name in TIMES))
    named = ""
    for weights, imgsz, metrics, milliseconds in rows:
        numbers = [str(imgsz), f"{metrics.map50:.3f}", f"{metrics.map50_95:.3f}"]
        name, named = "" if weights == named else printable(weights), weights
        table.add_row(Text(name), *numbers, *(f"{milliseconds[name]:.1f}" for name in TIMES))
    return table
