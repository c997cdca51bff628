"""Bar charts of labels per class, from 1 class to 1000."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onelook.drawing.lettering import shortened, shown_name
from onelook.errors import counted
from onelook.reports.plots.style import MUTED_COLOUR, colour_of, light_grid, plain_log_axis, write_placeholder
from onelook.structures.metrics import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

ROWS_PER_COLUMN = 40
MAX_BARS = 3 * ROWS_PER_COLUMN
EXTREMES = 20  # classes named at either end when there are too many to name all
SKEWED = 50  # ratio of the most to the fewest labels above which the axis is logarithmic
NAME_LENGTH = 20


def num_bar_rows(num_classes: int) -> int:
    """Bars in one column of `draw_class_counts`."""
    if num_classes > MAX_BARS:
        return EXTREMES
    return -(-num_classes // _num_bar_columns(num_classes))


def draw_class_counts(figure: SubFigure, counts: Array, names: Sequence[str]) -> None:
    """Draw (K,) labels per class, most frequent first: all, or both ends and a curve if there are more than 120."""
    order = np.argsort(-counts, kind="stable")
    if len(counts) == 0 or counts.max() == 0:
        axes = figure.subplots()
        axes.set_axis_off()
        write_placeholder(axes, "no labels")
        return
    is_log = counts.max() > SKEWED * counts[counts > 0].min()
    if len(counts) > MAX_BARS:
        most, curve, fewest = figure.subplots(1, 3)
        _draw_bars(most, order[:EXTREMES], counts, names, is_log=is_log)
        _draw_bars(fewest, order[-EXTREMES:], counts, names, is_log=is_log)
        _draw_ranks(curve, counts[order])
        most.set_title(f"{EXTREMES} most frequent classes")
        fewest.set_title(f"{EXTREMES} rarest classes")
        return
    figure.suptitle(f"Labels per class ({int(counts.sum()):,} in all)", fontsize="medium")
    columns = figure.subplots(1, _num_bar_columns(len(counts)), squeeze=False)[0]
    rows = num_bar_rows(len(counts))
    for column, axes in enumerate(columns):
        _draw_bars(axes, order[column * rows : (column + 1) * rows], counts, names, is_log=is_log)
        axes.set_ylim(rows - 0.4, -0.6)


def _num_bar_columns(num_classes: int) -> int:
    """Up to 12 classes in one column, up to 48 in two, else three."""
    return 1 if num_classes <= 12 else 2 if num_classes <= 48 else 3


def _draw_bars(axes: Axes, class_ids: Array, counts: Array, names: Sequence[str], *, is_log: bool) -> None:
    shown = counts[class_ids]
    ids = class_ids.tolist()
    positions = range(len(ids))
    axes.barh(positions, shown, height=0.72, color=[colour_of(class_id) for class_id in ids])
    axes.set_yticks(positions, [shortened(shown_name(names, class_id), NAME_LENGTH) for class_id in ids])
    axes.set_ylim(len(ids) - 0.4, -0.6)
    # Room for the number beside the longest bar.
    if is_log:
        plain_log_axis(axes, "x")
        axes.set_xlim(0.8, float(counts.max()) ** 1.25 * 2)
    else:
        axes.set_xlim(0, float(counts.max()) * 1.18)
        axes.locator_params(axis="x", integer=True, nbins=5)
    for position, count in zip(positions, shown.tolist(), strict=True):
        axes.annotate(f"{count:,}", (max(count, 0.8), position), (2, 0), textcoords="offset points", va="center")
    axes.tick_params(axis="y", length=0)
    light_grid(axes)
    axes.grid(visible=False, axis="y")


def _draw_ranks(axes: Axes, sorted_counts: Array) -> None:
    ranks = np.arange(1, len(sorted_counts) + 1)
    axes.fill_between(ranks, sorted_counts, 0.8, color=MUTED_COLOUR, linewidth=0, step="mid")
    plain_log_axis(axes, "y")
    axes.set(ylim=(0.8, None), xlim=(1, len(ranks)), xlabel="Rank", ylabel="Labels")
    num_empty = int((sorted_counts == 0).sum())
    title = f"All {counted(len(ranks), 'class')}"
    axes.set_title(f"{title}, {num_empty} without labels" if num_empty else title)
    light_grid(axes)
