"""Errors are shown as they are built: in one or more lines of plain text, whatever they quote."""

from __future__ import annotations

import pickle

import pytest

from onelook.errors import DataError, OnelookError, combined, counted

HOSTILE = "a\x1b[31m\r\x00\u202e\udc80\x9b\u2028é"
SHOWN = "a\\x1b[31m\\r\\x00\\u202e\\udc80\\x9b\\u2028é"


@pytest.mark.parametrize(
    "error",
    [
        DataError(f"label `{HOSTILE}` is unknown", hint=f"say `{HOSTILE}`"),
        pickle.loads(pickle.dumps(DataError(f"label `{HOSTILE}` is unknown", hint=f"say `{HOSTILE}`"))),
        combined(DataError, f"`{HOSTILE}`:", [HOSTILE, "b"], hint=HOSTILE),
    ],
)
def test_no_error_holds_control_characters(error: OnelookError) -> None:
    for text in (str(error), error.message, error.hint or "", *map(str, error.args)):
        assert all(character.isprintable() or character == "\n" for character in text)
        str(error).encode()
    assert SHOWN in error.message and error.hint is not None and SHOWN in error.hint
    assert "\nhint: " in str(error), "lines stay lines"


def test_one_of_a_thing_is_in_the_singular() -> None:
    things = "image", "epoch", "class", "box", "batch", "category", "label row"
    assert [counted(1, thing) for thing in things] == [f"1 {thing}" for thing in things]
    many = "images", "epochs", "classes", "boxes", "batches", "categories", "label rows"
    assert [counted(1200, thing) for thing in things] == [f"1,200 {thing}" for thing in many]
    assert counted(0, "image") == "0 images"
