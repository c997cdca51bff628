"""Pairs of rows and columns with the greatest sum: the assignment problem, for the small tables of one image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def best_pairs(gains: Floats) -> list[tuple[int, int]]:
    """Rows and columns, each in one pair at most, such that the sum of the gains is greatest; by row.

    A pair needs a gain above 0. Shortest augmenting paths (Jonker and Volgenant, "A shortest augmenting path algorithm
    for dense and sparse linear assignment problems", 1987), one row after the other.

    Args:
        gains: (R, C), finite; 0 or less where a row and a column do not go together.

    >>> best_pairs(np.array([[3.0, 2.0], [2.0, 0.0], [0.0, 0.0]]))
    [(0, 1), (1, 0)]
    """
    usable = gains > 0
    alone = usable & (usable.sum(axis=1) == 1)[:, None] & (usable.sum(axis=0) == 1)[None]
    pairs = [(int(row), int(column)) for row, column in np.argwhere(alone)]
    rest = usable & ~alone
    rows, columns = np.flatnonzero(rest.any(axis=1)), np.flatnonzero(rest.any(axis=0))
    if len(rows):
        table = np.maximum(gains[np.ix_(rows, columns)], 0)
        partners = _augmented(-table) if len(rows) <= len(columns) else _augmented(-table.T)
        found = [(number, partner) if len(rows) <= len(columns) else (partner, number)
                 for number, partner in enumerate(partners)]  # fmt: skip
        pairs += [(int(rows[row]), int(columns[column])) for row, column in found if table[row, column] > 0]
    return sorted(pairs)


def _augmented(costs: Floats) -> list[int]:
    """The column of each row, (R,), of least total cost; there are no fewer columns than rows."""
    num_rows, num_columns = costs.shape
    row_prices, column_prices = np.zeros(num_rows + 1), np.zeros(num_columns + 1)
    row_of = np.zeros(num_columns + 1, np.int64)  # rows and columns count from 1; 0 is none
    for row in range(1, num_rows + 1):
        row_of[0], column = row, 0
        least, before = np.full(num_columns + 1, np.inf), np.zeros(num_columns + 1, np.int64)
        is_done = np.zeros(num_columns + 1, bool)
        while row_of[column]:
            is_done[column] = True
            reduced = costs[row_of[column] - 1] - row_prices[row_of[column]] - column_prices[1:]
            is_nearer = ~is_done[1:] & (reduced < least[1:])
            least[1:][is_nearer], before[1:][is_nearer] = reduced[is_nearer], column
            reached = int(np.argmin(np.where(is_done, np.inf, least)[1:])) + 1
            step = least[reached]
            row_prices[row_of[is_done]] += step
            column_prices[is_done] -= step
            least[~is_done] -= step
            column = reached
        while column:
            row_of[column] = row_of[before[column]]
            column = int(before[column])
    partners = np.zeros(num_rows + 1, np.int64)
    partners[row_of[1:]] = np.arange(num_columns)
    return [int(column) for column in partners[1:]]
