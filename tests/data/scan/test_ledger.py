"""The account of a scan."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from onelook.data.scan.ledger import Ledger, LedgerEntry, ledger_from

ENTRIES = (
    LedgerEntry("a.txt", 3, "0 1", "2 columns", "refused"),
    LedgerEntry("b.txt", 0, "", "4 rows of an image that cannot be used", "refused", rows=4),
    LedgerEntry("b.jpg", 0, "", "truncated", "unusable image", rows=0),
    LedgerEntry("c.txt", 1, "0 1 1 1 1", "leaves the image", "clipped"),
    LedgerEntry("c.txt", 2, "12", "class id 12 is not below the 3 classes", "unknown class"),
    LedgerEntry("c.jpg", 0, "", "the content is png", "note", rows=0),
)
LEDGER = Ledger(
    split="val", images_found=3, images_missing=2, images_empty=1, images_unusable=1, rows_as_is=5, rows_clipped=1,
    rows_deduplicated=0, rows_refused=6, images_listed=7, rows_read=12, entries=ENTRIES,
)  # fmt: skip


def test_sums_that_add_up_pass() -> None:
    LEDGER.check()
    assert LEDGER.rows_used == 6


@pytest.mark.parametrize("name", [f.name for f in fields(Ledger) if f.name not in {"split", "entries"}])
def test_every_count_that_is_off_by_one_is_noticed(name: str) -> None:
    with pytest.raises(AssertionError, match="does not add up"):
        replace(LEDGER, **{name: getattr(LEDGER, name) + 1}).check()


@pytest.mark.parametrize("missing", [0, 1, 2, 3, 4])
def test_every_entry_that_is_missing_is_noticed(missing: int) -> None:
    with pytest.raises(AssertionError, match="does not add up"):
        replace(LEDGER, entries=ENTRIES[:missing] + ENTRIES[missing + 1 :]).check()


def test_json_comes_back_whole() -> None:
    assert ledger_from(json.loads(LEDGER.to_json())) == LEDGER
    assert json.loads(LEDGER.to_json())["rows_refused"] == 6


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense", '{"format": 0}', '{"format": 1, "entries": []}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ledger_from(json.loads(text))


def test_summary_names_every_part_that_is_not_empty() -> None:
    assert LEDGER.summary().splitlines() == [
        "val: 7 images: 3 with labels, 2 without label file, 1 with an empty label file, 1 unusable",
        "val: 12 label rows: 5 used as they are, 1 clipped, 6 refused",
    ]


def test_entry_reads_as_a_sentence() -> None:
    assert str(ENTRIES[0]) == "`a.txt` line 3: 2 columns (`0 1`)"
    assert str(ENTRIES[2]) == "`b.jpg`: truncated"


def test_entries_are_found_by_outcome() -> None:
    assert LEDGER.of("refused", "unknown class") == [ENTRIES[0], ENTRIES[1], ENTRIES[4]]
