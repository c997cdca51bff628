"""The confusion matrix, with missed objects and false detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onelook.drawing.lettering import shown_name
from onelook.reports.plots.style import FONT_PT, TEXT_WIDTH_IN, chart, white_to_blue
from onelook.structures.confusion_cells import matrix_of, most_confused
from onelook.structures.metrics import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIN_SHARE = 0.005  # cells below are left blank
MAX_CLASSES_WITH_NUMBERS = 29
MAX_CLASSES_WITH_NAMES = 98
MAX_CLASSES = 1000
"""Number of classes above which only the most confused ones are drawn, with all others as one."""
OTHERS, BACKGROUND = "others", "background"
WHITE_LETTERS_FROM = 0.6  # of the colour scale, which runs from light to dark
CELL_WITH_NUMBER_IN = 0.4
CELL_WITH_NAME_IN = 0.135


def plot_confusion_matrix(cells: Array, names: Sequence[str], path: Path) -> Path:
    """Write the confusion matrix: columns are the labels, rows the predictions, the last of each is the background.

    The background row holds missed objects, the background column false detections. Cells are as dark as their share
    of the column, and show counts if there are fewer than 30 classes; classes are named if there are fewer than 99. Of
    more than 1,000 classes, the 97 most confused ones are drawn, and all others as one.
    """
    labels = [shown_name(names, class_id) for class_id in range(len(names))]
    if len(names) > MAX_CLASSES:
        cells, shown = most_confused(cells, len(names), MAX_CLASSES_WITH_NAMES - 1)
        labels = [*(labels[class_id] for class_id in shown), OTHERS]
    num_classes = len(labels)
    confusion = matrix_of(cells, num_classes)
    shares = confusion / np.maximum(confusion.sum(axis=0, keepdims=True), 1)
    shares[shares < MIN_SHARE] = np.nan
    labels.append(BACKGROUND)
    side = _side_in(num_classes)
    margin = 0.5 + 0.062 * max(map(len, labels)) if num_classes <= MAX_CLASSES_WITH_NAMES else 0.6
    with chart(path, width_in=max(side + margin + 0.9, 3.2), height_in=max(side + margin, 2.4)) as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap=white_to_blue(), vmin=0, vmax=1, interpolation="nearest")
        axes.set(xlabel="True class", ylabel="Predicted class")
        _name_ticks(axes, labels if num_classes <= MAX_CLASSES_WITH_NAMES else [])
        if num_classes <= MAX_CLASSES_WITH_NUMBERS:
            _write_numbers(axes, confusion, shares)
        bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=25, pad=0.02)
        bar.set_label("Share of the true class")
        bar.outline.set_visible(False)
    return path


def _side_in(num_classes: int) -> float:
    """Side of the matrix, inches: as large as its text needs, at least 2."""
    if num_classes > MAX_CLASSES_WITH_NAMES:
        return TEXT_WIDTH_IN - 1.5
    cell = CELL_WITH_NAME_IN if num_classes > MAX_CLASSES_WITH_NUMBERS else CELL_WITH_NUMBER_IN
    return max(2.0, cell * (num_classes + 1))


def _name_ticks(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)


def _write_numbers(axes: Axes, counts: Array, shares: Array) -> None:
    for row, column in np.argwhere(~np.isnan(shares)).tolist():
        ink = "white" if shares[row, column] > WHITE_LETTERS_FROM else "black"
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=ink, fontsize=FONT_PT)
