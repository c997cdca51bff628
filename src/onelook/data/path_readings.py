"""Finds a path that was written on another system or for another folder, if it does not exist as written.

Only tried where nothing exists at the path as written, and logged whenever it is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_DRIVE = re.compile(r"^[A-Za-z]:(?=/)")
_LEAST_PARTS = 2  # of a folder, so that `a/train/images` and `a/val/images` never both become `images`


def parts_of(written: str) -> list[str]:
    """The names in a path of this system or of Windows, without drive, `.` and the `..` it begins with.

    >>> parts_of("..\\\\a/b"), parts_of("C:\\\\x")
    (['a', 'b'], ['x'])
    """
    parts = [part for part in _DRIVE.sub("", written.replace("\\", "/")).split("/") if part not in ("", ".")]
    while parts and parts[0] == "..":
        parts.pop(0)
    return parts


def folder_readings(written: str, root: Path) -> Iterator[Path]:
    """Other readings of an entry of a dataset file, the most literal first: `/` for backslashes, fewer folders."""
    plain = written.replace("\\", "/")
    if plain != written:
        yield Path(os.path.normpath(root / plain))
    parts = parts_of(written)
    if parts and parts[0] == root.name:
        yield root.joinpath(*parts[1:])
    if parts and plain.startswith("../"):
        yield root.joinpath(*parts)
    for dropped in range(len(parts) - _LEAST_PARTS + 1):
        yield root.joinpath(*parts[dropped:])


def moved_files(lines: Sequence[str], bases: Sequence[str]) -> list[str] | None:
    """The files of a list, if the last parts of the first path exist below one of the bases.

    Args:
        lines: paths as they are written; the same parts are left out of each.

    Returns:
        Paths, as many different ones as there are different lines; None if nothing is found.
    """
    first = parts_of(lines[0])
    for dropped in range(len(first)):
        for base in bases:
            if not os.path.isfile(os.path.join(base, *first[dropped:])):  # noqa: PTH113, PTH118 - there are many
                continue
            candidates = [os.path.join(base, *parts_of(line)[dropped:]) for line in lines]  # noqa: PTH118
            return candidates if len(set(candidates)) == len(set(lines)) else None
    return None
