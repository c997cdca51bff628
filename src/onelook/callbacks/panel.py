"""A chart of a run over its epochs, whoever draws it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: above it.
        lines: per line, the column of `results.csv` or `speed.csv`, and how it is called.
        is_share: all values lie from 0 to 1.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    is_share: bool = False
