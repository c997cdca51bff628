"""The fitness of each trial of a search against its hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onelook.reports.plots.style import FONT_PT, MUTED_COLOUR, chart, colour_of, light_grid, write_placeholder
from onelook.search.genes import GENES
from onelook.search.history import Row, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_COLUMNS = 5
ROW_HEIGHT_IN = 1.35


def plot_evolution(rows: Sequence[Row], path: Path) -> Path:
    """Draw fitness against each hyperparameter that took more than one value, the best trial marked.

    Complete trials are filled, pruned ones hollow; failed ones are left out.
    """
    names = [name for name in GENES if len({row.genes[name] for row in rows if name in row.genes}) > 1]
    num_rows = max(-(-len(names) // NUM_COLUMNS), 1)
    with chart(path, height_in=ROW_HEIGHT_IN * num_rows + 0.3) as figure:
        if not names:
            write_placeholder(figure.subplots(subplot_kw={"xticks": [], "yticks": []}), "one set of hyperparameters")
            return path
        panels = list(figure.subplots(num_rows, NUM_COLUMNS, sharey=True, squeeze=False).flat)
        for axes, name in zip(panels, names, strict=False):
            _draw_gene(axes, rows, name)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        figure.supylabel("Fitness", fontsize=FONT_PT)
    return path


def _draw_gene(axes: Axes, rows: Sequence[Row], name: str) -> None:
    best = ranked(rows)[:1]
    title = f"{name} {best[0].genes[name]:.4g}" if best and name in best[0].genes else name
    axes.set_title(title, fontsize=7)
    axes.tick_params(labelsize=6)
    light_grid(axes)
    axes.locator_params(axis="x", nbins=2)
    looks: dict[str, dict[str, Any]] = {
        "pruned": {"facecolors": "none", "edgecolors": MUTED_COLOUR, "linewidths": 0.6},
        "complete": {"color": colour_of(0), "alpha": 0.7, "linewidths": 0},
    }
    for state, look in looks.items():
        found = [(row.genes[name], row.fitness) for row in rows if row.state == state and name in row.genes]
        if found:
            values, fitness = zip(*found, strict=True)
            axes.scatter(values, fitness, s=9, **look)
    if best and name in best[0].genes:
        point = best[0].genes[name], best[0].fitness
        axes.plot(*point, marker="o", markersize=6, markerfacecolor="none", markeredgecolor="black", clip_on=False)
