"""Boxes that the user's transforms take away do not disappear unsaid."""

from __future__ import annotations

import pytest

from onelook.callbacks.dropped_boxes import warn_of_dropped_boxes


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([[0, 90]], ""),
        ([[0, 0]], ""),
        ([[3, 97]], "`transforms` dropped 3 of 100 boxes (3 %)"),
        ([[0, 40], [5, 55]], "`transforms` dropped 5 of 100 boxes (5 %)"),
    ],
)
def test_the_boxes_of_all_processes_are_counted(
    counts: list[list[int]], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_dropped_boxes(counts)
    assert [record.getMessage() for record in caplog.records] == ([text] if text else [])
