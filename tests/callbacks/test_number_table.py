"""The look of tables: titles are shown as they are."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from onelook.callbacks.number_table import classes_to_show, number_table


@pytest.mark.parametrize("title", ["[/red]", "models/[a].yaml", "[bold]x"])
def test_titles_with_brackets_are_shown_as_they_are(title: str) -> None:
    shown = io.StringIO()
    Console(file=shown, width=80).print(number_table("class", title))
    assert shown.getvalue().splitlines()[0].rstrip().endswith(title)


def test_long_names_are_folded_and_numbers_are_not() -> None:
    table, shown = number_table("class", "count"), io.StringIO()
    table.add_row("x" * 60, "1,234")
    Console(file=shown, width=30).print(table)
    text = shown.getvalue()
    assert text.count("x") == 60 and "1,234" in text


def test_of_thousands_of_classes_those_with_the_most_labels_are_shown() -> None:
    assert classes_to_show([3, 0, 7]) == [0, 1, 2]
    counts = [number % 1000 for number in range(20_000)]
    shown = classes_to_show(counts)
    assert len(shown) == 500 and shown == sorted(shown) and min(counts[row] for row in shown) == 975
