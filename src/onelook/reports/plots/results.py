"""`results.png`: losses, metrics and learning rates of a run over its epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onelook.reports.panel import Panel, loss_names, loss_title
from onelook.reports.plots.style import chart, colour_of, light_grid, write_placeholder
from onelook.structures.results import MAP50, MAP50_95, PRECISION, RECALL, fitness_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

HEIGHT_IN = 4.4
MIN_EPOCHS_TO_SMOOTH = 10
SMOOTHED_SHARE = 0.02  # standard deviation of the smoothing, of the number of epochs
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": colour_of(1), "linestyle": "-", "marker": "o"},
    {"color": colour_of(0), "linestyle": "--", "marker": "s"},
    {"color": colour_of(2), "linestyle": ":", "marker": "^"},
)

PANELS = (
    Panel("Precision and recall", ((PRECISION, "precision"), (RECALL, "recall")), is_share=True),
    Panel("Average precision", ((MAP50, "mAP50"), (MAP50_95, "mAP50-95")), is_share=True),
    Panel("Learning rate", (("x/lr0", "lr0"), ("x/lr1", "lr1"), ("x/lr2", "lr2"))),
)


def plot_results(rows: Sequence[Mapping[str, float | None]], path: Path) -> Path:
    """Write losses, precision and recall, average precision and learning rates over the epochs.

    From 10 epochs on, measured values are pale and a lightly smoothed line (Gaussian, 2 % of the epochs wide) is
    drawn over them. A ring marks the epoch of the best fitness.

    Args:
        rows: the lines of `results.csv`; a value that is missing, None or not a number is left out.
    """
    names = loss_names(dict.fromkeys(column for row in rows for column in row))
    losses = (Panel(loss_title(name), ((f"train/{name}_loss", "train"), (f"val/{name}_loss", "val"))) for name in names)
    panels = [*losses, *PANELS]
    with chart(path, height_in=HEIGHT_IN) as figure:
        for axes, panel in zip(figure.subplots(2, math.ceil(len(panels) / 2)).flat, panels, strict=False):
            axes.set(title=panel.title, xlabel="Epoch")
            axes.locator_params(axis="x", integer=True, nbins=6)
            light_grid(axes)
            drawn = [_draw_line(axes, rows, *line, look=look) for line, look in zip(panel.lines, LOOKS, strict=False)]
            if not any(drawn):
                write_placeholder(axes, "no values")
                axes.set(xticks=[], yticks=[])
                continue
            if panel.is_share:
                axes.set_ylim(0, min(1.05, max(0.01, 1.1 * axes.get_ylim()[1])))
            if len(rows) == 1:
                axes.set_xlim(axes.get_xlim()[0] - 1, axes.get_xlim()[1] + 1)
            axes.legend(loc="best")
    return path


def _draw_line(
    axes: Axes, rows: Sequence[Mapping[str, float | None]], column: str, label: str, *, look: dict[str, Any]
) -> bool:
    """Draw one column over the epochs; False if it has no values."""
    epochs = _column(rows, "epoch")
    values = _column(rows, column)
    known = np.isfinite(values) & np.isfinite(epochs)
    epochs, values = epochs[known], values[known]
    if len(values) == 0:
        return False
    marker_size = 3 if len(values) < 40 else 0
    if column.startswith("x/") or len(values) < MIN_EPOCHS_TO_SMOOTH:
        axes.plot(epochs, values, label=label, linewidth=1.3, markersize=marker_size, **look)
    else:
        axes.plot(epochs, values, color=look["color"], linewidth=0.7, alpha=0.4)
        smooth = smoothed(epochs, values)
        axes.plot(epochs, smooth, label=label, linewidth=1.5, color=look["color"], linestyle=look["linestyle"])
    if column in (MAP50, MAP50_95):
        _mark_best(axes, rows, column)
    return True


def _mark_best(axes: Axes, rows: Sequence[Mapping[str, float | None]], column: str) -> None:
    fitness = fitness_of(_column(rows, MAP50), _column(rows, MAP50_95))
    if not np.isfinite(fitness).any():
        return
    best = int(np.nanargmax(fitness))
    axes.plot(
        _column(rows, "epoch")[best], _column(rows, column)[best],
        marker="o", markersize=7, markerfacecolor="none", markeredgecolor="black", linestyle="none",
    )  # fmt: skip


def smoothed(epochs: Floats, values: Floats) -> Floats:
    """Gaussian mean of `values` (N,) around each epoch; gaps between epochs are taken as they are.

    >>> smoothed(np.arange(100.0), np.full(100, 3.0)).round(6).max()
    np.float64(3.0)
    """
    width = max(1.0, SMOOTHED_SHARE * float(epochs.max() - epochs.min()))
    weights = np.exp(-0.5 * ((epochs[:, None] - epochs[None]) / width) ** 2)  # (N, N)
    mean: Floats = weights @ values / weights.sum(axis=1)
    return mean


def _column(rows: Sequence[Mapping[str, float | None]], column: str) -> Floats:
    values = [row.get(column) for row in rows]
    return np.array([np.nan if value is None else value for value in values], np.float64)
