"""The numbers of several folds as tables for the console: fold by fold, and class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from onelook.callbacks.console import printable
from onelook.callbacks.number_table import number_table
from onelook.metrics.fold_summary import FoldScore, FoldSummary, Spread

MEASURES = ("precision", "recall", "map50", "map50_95")
HEADS = ("P", "R", "mAP50", "mAP50-95")


def fold_table(scores: Sequence[FoldScore], summary: FoldSummary) -> Table:
    """A line for each fold, then the mean and the sample standard deviation of all."""
    table = number_table("Fold", "Epochs", "Best", "Images", "Labels", *HEADS)
    for number, score in enumerate(scores, start=1):
        counts = score.epochs, score.best_epoch, score.metrics.num_images, score.metrics.num_labels
        values = (getattr(score.metrics, name) for name in MEASURES)
        cells = (*(f"{count:,}" for count in counts), *map(_number, values))
        table.add_row(Text(printable(score.name)), *cells, end_section=number == len(scores))
    blank = ("", "", f"{summary.num_images:,}", f"{summary.num_labels:,}")
    spreads = [summary.spreads[name] for name in MEASURES]
    table.add_row(Text("mean"), *blank, *(_number(one.mean) for one in spreads), style="bold")
    table.add_row(Text("deviation"), *[""] * len(blank), *(_number(one.sd) for one in spreads))
    return table


def class_spread_table(summary: FoldSummary, names: Sequence[str], *, sign: str = "±") -> Table:
    """A line for each class: mean and sample standard deviation of its average precision, and how far it ranges."""
    table = number_table("Class", "Folds", "Labels", "mAP50", "mAP50-95", "from", "to")
    for one in summary.classes:
        spread = one.spreads["ap50_95"]
        cells = (_both(one.spreads["ap50"], sign), _both(spread, sign), _number(spread.lowest), _number(spread.highest))
        name = names[one.class_id] if one.class_id < len(names) else f"class {one.class_id}"
        table.add_row(Text(printable(name)), f"{one.num_folds}", f"{one.num_labels:,}", *cells)
    return table


def _both(spread: Spread, sign: str) -> str:
    return f"{_number(spread.mean)} {sign} {_number(spread.sd)}"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
