"""The style of all console tables: names at the left, numbers in all other columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

MOST_CLASSES = 500


def number_table(first: str, *others: str) -> Table:
    """An empty table: names in the column `first`, folded if they are long, then numbers.

    Titles of columns are shown as they are; cells that hold names of the user must be `Text`, or escaped.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(Text(first), overflow="fold", min_width=6)
    for column in others:
        table.add_column(Text(column), justify="right", no_wrap=True)
    return table


def classes_to_show(num_labels: Sequence[int]) -> list[int]:
    """The 500 classes with the most labels, ascending: nobody reads a table of thousands of lines."""
    return sorted(np.argsort(-np.asarray(num_labels), kind="stable")[:MOST_CLASSES].tolist())
