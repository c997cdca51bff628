"""The labels of a split: how many of each class, where in the image, how large."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from onelook.reports.plots.class_counts import draw_class_counts, num_bar_rows
from onelook.reports.plots.style import (
    COLOUR_MAP,
    TEXT_WIDTH_IN,
    chart,
    colour_of,
    light_grid,
    plain_log_axis,
    write_placeholder,
)
from onelook.structures.dataset_index import DatasetIndex

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

MAX_SHAPES = 1000
NUM_BINS = 50
SMALLEST_SHOWN = 1e-3  # of the image side: smaller boxes are counted at this size
MAP_HEIGHT_IN = 2.5
BAR_HEIGHT_IN = 0.17


def plot_label_statistics(index: DatasetIndex, names: Sequence[str], path: Path) -> Path:
    """Write the labels per class, box shapes about a common centre, and densities of centres and of sizes."""
    counts = np.bincount(index.class_ids, minlength=len(names)) if len(index.class_ids) else np.zeros(len(names), int)
    bars_in = max(1.2, 0.75 + BAR_HEIGHT_IN * num_bar_rows(len(counts)))
    with chart(path, height_in=bars_in + MAP_HEIGHT_IN) as figure:
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[bars_in, MAP_HEIGHT_IN])[:, 0]
        draw_class_counts(upper, counts, names)
        shapes, centres, sizes = lower.subplots(1, 3)
        boxes = index.boxes.astype(np.float64)
        _draw_shapes(shapes, boxes[:, 2:], index.class_ids)
        _draw_centres(centres, boxes)
        _draw_sizes(sizes, boxes)
    return path


def plot_label_correlogram(index: DatasetIndex, path: Path) -> Path:
    """Write the pairwise densities of centre x, centre y, width and height of the boxes, and their histograms."""
    labels = ("Centre x", "Centre y", "Width", "Height")
    boxes = index.boxes.astype(np.float64)
    edges = np.linspace(0, 1, NUM_BINS + 1)
    with chart(path, height_in=TEXT_WIDTH_IN) as figure:
        grid = figure.add_gridspec(4, 4)
        for row in range(4):
            for column in range(row + 1):
                axes = figure.add_subplot(grid[row, column])
                if column == row:
                    axes.stairs(np.histogram(boxes[:, row], edges)[0], edges, fill=True, color=colour_of(1))
                    axes.set(ylim=(0, None), yticks=[])
                    axes.spines["left"].set_visible(False)
                else:
                    _draw_density(axes, boxes[:, column], boxes[:, row], edges)
                axes.set(xlim=(0, 1))
                axes.tick_params(labelbottom=row == 3)
                if row == 3:
                    axes.set_xlabel(f"{labels[column]} / image")
                if column == 0:
                    axes.set_ylabel(labels[row] if row else "Boxes")
    return path


def _draw_shapes(axes: Axes, sizes: Floats, class_ids: npt.NDArray[np.int64]) -> None:
    """At most 1000 boxes, evenly picked, about one centre, largest first so that none is hidden."""
    from matplotlib.collections import LineCollection

    axes.set(xlim=(-0.5, 0.5), ylim=(0.5, -0.5), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.set_title("Box shapes")
    if len(sizes) == 0:
        write_placeholder(axes, "no labels")
        return
    picked = np.unique(np.linspace(0, len(sizes) - 1, min(MAX_SHAPES, len(sizes))).astype(np.int64))
    picked = picked[np.argsort(-sizes[picked].prod(axis=1), kind="stable")]
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]])
    rectangles = corners[None] * sizes[picked, None, :]  # (N, 5, 2)
    colours = [colour_of(class_id) for class_id in class_ids[picked].tolist()]
    opacity = 0.9 if len(picked) < 50 else 0.35
    axes.add_collection(LineCollection(list(rectangles), colors=colours, linewidths=0.6, alpha=opacity))


def _draw_centres(axes: Axes, boxes: Floats) -> None:
    axes.set(xlabel="x / image width", ylabel="y / image height")
    if len(boxes) == 0:
        axes.set(title="Box centres", xlim=(0, 1), ylim=(1, 0), aspect="equal")
        write_placeholder(axes, "no labels")
        return
    most = _draw_density(axes, boxes[:, 0], boxes[:, 1], np.linspace(0, 1, NUM_BINS + 1))
    axes.set(xlim=(0, 1), ylim=(1, 0), aspect="equal", title=f"Box centres (darkest bin: {most})")


def _draw_sizes(axes: Axes, boxes: Floats) -> None:
    plain_log_axis(axes, "x")
    plain_log_axis(axes, "y")
    axes.set(xlabel="Width / image width", ylabel="Height / image height")
    light_grid(axes)
    if len(boxes) == 0:
        axes.set(title="Box sizes", xlim=(0.01, 1), ylim=(0.01, 1), aspect="equal")
        write_placeholder(axes, "no labels")
        return
    sizes = np.clip(boxes[:, 2:], SMALLEST_SHOWN, 1)
    low = min(0.1, float(sizes.min()) * 0.9)
    most = _draw_density(axes, sizes[:, 0], sizes[:, 1], np.geomspace(low, 1, NUM_BINS + 1))
    axes.set(xlim=(low, 1), ylim=(low, 1), aspect="equal", title=f"Box sizes (darkest bin: {most})")


def _draw_density(axes: Axes, x: Floats, y: Floats, edges: Floats) -> int:
    """Draw the boxes per cell of a square grid, empty cells blank; returns the most boxes in a cell."""
    cells, _, _ = np.histogram2d(x, y, bins=[edges, edges])
    axes.pcolormesh(edges, edges, np.ma.masked_equal(cells.T, 0), cmap=f"{COLOUR_MAP}_r", vmin=0)
    return int(cells.max())
