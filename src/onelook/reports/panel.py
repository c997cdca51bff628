"""Charts of a run over its epochs, for the report and for `results.png`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LOSS_TITLES = {
    "box": "Box loss",
    "obj": "Objectness loss",
    "cls": "Class loss",
    "l1": "L1 loss",
    "dist": "Distance loss",
}
"""Titles of loss terms; others are titled by their names."""


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        lines: per line, the column of `results.csv` or `speed.csv`, and its name.
        is_share: all values lie from 0 to 1.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    is_share: bool = False


def loss_names(columns: Iterable[str]) -> list[str]:
    """The terms of the loss that a table of results has, in its order.

    >>> loss_names(["epoch", "train/box_loss", "train/l1_loss", "val/box_loss"])
    ['box', 'l1']
    """
    return [name.removeprefix("train/").removesuffix("_loss") for name in columns if name.startswith("train/")]


def loss_title(name: str) -> str:
    """Title of the chart of a term."""
    return LOSS_TITLES.get(name, f"{name} loss")
