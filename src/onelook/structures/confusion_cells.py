"""A confusion matrix of K classes as the cells that are not 0: few, where a matrix of 10,000 classes has 800 MB.

Cells are (C, 3) int64: predicted class, true class, count, in ascending order; class K is the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

MOST_CLASSES_WRITTEN = 1000
"""Number of classes above which files hold the cells instead of the matrix."""


def cells_of(confusion: npt.NDArray[Any]) -> Ints:
    """The cells of a (K + 1, K + 1) matrix, rows predicted, columns true."""
    predicted, true = np.nonzero(confusion)
    return np.stack([predicted, true, confusion[predicted, true]], axis=1).astype(np.int64)


def matrix_of(cells: Ints, num_classes: int) -> Ints:
    """The inverse of `cells_of`."""
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    matrix[cells[:, 0], cells[:, 1]] = cells[:, 2]
    return matrix


def sum_of_cells(parts: Sequence[Ints]) -> Ints:
    """The cells of several matrices of the same classes, added."""
    rows = np.concatenate(parts)
    cells, inverse = np.unique(rows[:, :2], axis=0, return_inverse=True)
    counts = np.zeros(len(cells), np.int64)
    np.add.at(counts, inverse.reshape(-1), rows[:, 2])
    return np.concatenate([cells, counts[:, None]], axis=1)


def as_document(cells: Ints, num_classes: int) -> dict[str, Any]:
    """For a JSON file: `confusion`, the matrix, or with many classes `confusion_cells`."""
    if num_classes > MOST_CLASSES_WRITTEN:
        return {"confusion_cells": cells.tolist()}
    return {"confusion": matrix_of(cells, num_classes).tolist()}


def most_confused(cells: Ints, num_classes: int, most: int) -> tuple[Ints, Ints]:
    """Cells of the `most` classes with the most mistakes, all others counted as one, and which these classes are.

    Returns:
        The cells of `most` + 1 classes, the others being the last, and the (most,) classes in ascending order.
    """
    wrong = cells[cells[:, 0] != cells[:, 1]]
    mistakes = np.bincount(wrong[:, :2].T.reshape(-1), np.tile(wrong[:, 2], 2), minlength=num_classes + 1)
    chosen = np.sort(np.argsort(-mistakes[:num_classes], kind="stable")[:most]).astype(np.int64)
    new_ids = np.full(num_classes + 1, most, np.int64)
    new_ids[chosen], new_ids[num_classes] = np.arange(most), most + 1
    return sum_of_cells([np.concatenate([new_ids[cells[:, :2]], cells[:, 2:]], axis=1)]), chosen
