"""Widths and heights of the labels, and which of them each set of anchors matches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onelook.reports.plots.style import (
    MUTED_COLOUR,
    TEXT_WIDTH_IN,
    chart,
    colour_of,
    light_grid,
    plain_log_axis,
    write_placeholder,
)
from onelook.training.autoanchor import AnchorFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[Any]

NUM_CELLS = 60
LEAST_SHOWN_PX = 1.0  # labels with a smaller side are shown at this size
POLYGON_POINTS = 300
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HEIGHT_IN = 4.3
LEGEND_COLUMNS = 3
OUT_OF_REACH_COLOUR = "0.93"


def plot_anchors(
    sizes_px: Floats, fits: Mapping[str, AnchorFit], strides: Sequence[int], path: Path, *, anchor_t: float, imgsz: int
) -> Path:
    """Write one panel per set of anchors: the labels, the anchors by map, and in grey the sizes out of their reach.

    Args:
        sizes_px: (M, 2) width, height of the labels; it may be empty.
        fits: title -> anchors and how well they fit the labels; two panels look best.
        strides: (L,) pixels per cell of the maps.
        anchor_t: a label is in reach if neither side differs by this factor or more.
        imgsz: size of the training images, pixels.
    """
    shown = np.maximum(np.asarray(sizes_px, np.float64), LEAST_SHOWN_PX)
    limits = _limits(shown, fits, imgsz)
    with chart(path, width_in=TEXT_WIDTH_IN, height_in=HEIGHT_IN) as figure:
        panels = figure.subplots(1, len(fits), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (title, fit) in zip(panels, fits.items(), strict=True):
            _draw_labels(axes, shown, limits)
            _draw_reach(axes, fit, limits, anchor_t)
            _draw_anchors(axes, fit, strides)
            _set_axes(axes, limits)
            recall = 100 * fit.best_possible_recall
            axes.set(title=f"{title}: {recall:.1f} % of {len(sizes_px):,} labels in reach", xlabel="Width (pixels)")
        panels[0].set_ylabel(f"Height (pixels, at an image size of {imgsz})")
    return path


def _limits(shown: Floats, fits: Mapping[str, AnchorFit], imgsz: int) -> tuple[float, float]:
    """The limits of both axes: all labels and anchors, with a margin."""
    sides = np.concatenate([shown.reshape(-1), *(fit.anchors_px.reshape(-1) for fit in fits.values()), [imgsz]])
    return float(max(sides.min(), LEAST_SHOWN_PX)) / 1.3, float(sides.max()) * 1.3


def _draw_labels(axes: Axes, shown: Floats, limits: tuple[float, float]) -> None:
    if len(shown) == 0:
        write_placeholder(axes, "no labels")
        return
    edges = np.geomspace(*limits, NUM_CELLS + 1)
    cells, _, _ = np.histogram2d(shown[:, 0], shown[:, 1], bins=[edges, edges])
    # Square roots keep a single label visible beside cells of thousands.
    axes.pcolormesh(edges, edges, np.sqrt(np.ma.masked_equal(cells.T, 0)), cmap="Greys", vmin=-(cells.max() ** 0.5) / 4)


def _draw_reach(axes: Axes, fit: AnchorFit, limits: tuple[float, float], anchor_t: float) -> None:
    """Fill the sizes that match no anchor with grey, and draw a line around them."""
    sides = np.linspace(math.log(limits[0]), math.log(limits[1]), POLYGON_POINTS)
    log_anchors = np.log(fit.anchors_px.reshape(-1, 2))
    along_width, along_height = (np.abs(sides[:, None] - log_anchors[None, :, axis]) for axis in (0, 1))
    distance = np.maximum(along_width[None], along_height[:, None]).min(axis=2)  # (height, width)
    x_and_y = np.exp(sides), np.exp(sides)
    limit = math.log(anchor_t)
    axes.contourf(*x_and_y, distance, levels=[limit, np.inf], colors=[OUT_OF_REACH_COLOUR], zorder=0)
    axes.contour(*x_and_y, distance, levels=[limit], colors=MUTED_COLOUR, linewidths=0.8, zorder=1)


def _draw_anchors(axes: Axes, fit: AnchorFit, strides: Sequence[int]) -> None:
    for row, stride in enumerate(strides):
        width, height = fit.anchors_px[row].T
        axes.plot(
            width,
            height,
            linestyle="none",
            marker=MARKERS[row % len(MARKERS)],
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.8,
            color=colour_of(row),
            zorder=3,
            label=f"{stride}: {100 * fit.map_shares[row]:.0f} %",
        )
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=LEGEND_COLUMNS,
        handletextpad=0.2,
        columnspacing=1.2,
        title="Labels by the stride of their best anchor",
    )


def _set_axes(axes: Axes, limits: tuple[float, float]) -> None:
    from matplotlib.ticker import LogLocator

    for which in ("x", "y"):
        plain_log_axis(axes, which)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    light_grid(axes)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
