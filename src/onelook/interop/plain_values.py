"""Values of a pickle that are read as settings: numbers, short texts, lists and dictionaries, and few of them."""

from __future__ import annotations

from typing import Any

from onelook.errors import CheckpointError
from onelook.interop.records import described

MAX_VALUES = 100_000
MAX_DEPTH = 6
MAX_TEXT = 200


def plain(value: Any, what: str) -> Any:
    """A copy of `value` made of plain values alone; tuples become lists.

    Raises:
        CheckpointError: it holds anything else, a text of more than 200 characters or with control characters, or is
            too large or too deep; a pickle of a few bytes can hold what would fill any memory if it were written out.
    """
    budget = [MAX_VALUES]
    return _plain(value, what, 0, budget)


def _plain(value: Any, what: str, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0 or depth > MAX_DEPTH:
        raise CheckpointError(f"{what} has more than {MAX_VALUES} values or is nested deeper than {MAX_DEPTH}")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        if len(value) > MAX_TEXT or not value.isprintable():
            raise CheckpointError(
                f"{what} has the text {described(value)}", hint=f"at most {MAX_TEXT} printable characters are accepted"
            )
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, what, depth + 1, budget) for item in value]
    if isinstance(value, dict):
        return {_plain(key, what, depth, budget): _plain(item, what, depth + 1, budget) for key, item in value.items()}
    raise CheckpointError(f"{what} has {described(value)}")
