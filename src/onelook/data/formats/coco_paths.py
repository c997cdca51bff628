"""Finds the images that a file of labels names, also if their names begin with folders that do not exist."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence

from onelook.files.bounded import printable

logger = logging.getLogger(__name__)

MOST_LEFT_OUT = 8
_TRIED = 10


def image_paths(folder: str, names: Sequence[str], *, named_in: str = "") -> list[str]:
    """The path of each image, below `folder` unless its name is absolute.

    If the folder of a name does not exist, its first parts are left out until one does: for `images/v1/patch0/1.jpg`,
    `v1/patch0` and `patch0` are tried. If none exists, file names alone are tried, provided they are unique. Different
    paths stay different. A backslash counts as `/` unless a file has one in its name.

    Args:
        named_in: the file that names the images, for the log if a name is not taken literally; empty logs nothing.
    """
    written = names
    names = [name if "\\" not in name or _exists(folder, name) else name.replace("\\", "/") for name in names]
    changed = [old for old, new in zip(written, names, strict=True) if old != new]
    if changed and named_in:
        logger.info(
            "`%s`: %d of %d file names have backslashes, which are read as `/`; first: `%s`",
            printable(named_in), len(changed), len(names), printable(changed[0]),
        )  # fmt: skip
    paths = _paths_with_folders(folder, names, named_in)
    if not any(map(os.path.exists, paths[:_TRIED])):
        alone = [name.rpartition("/")[2] for name in names]
        if len(set(alone)) == len(set(names)) and any(_exists(folder, name) for name in alone[:_TRIED]):
            if named_in:
                logger.info(
                    "`%s`: the folders that the images are said to be in are not there; `%s` is read from `%s`",
                    printable(named_in), printable(names[0]), printable(folder),
                )  # fmt: skip
            return [os.path.normpath(os.path.join(folder, name)) for name in alone]  # noqa: PTH118
    return paths


def _paths_with_folders(folder: str, names: Sequence[str], named_in: str) -> list[str]:
    insides = Counter(os.path.dirname(name) for name in names)  # noqa: PTH120 - there are millions
    found = {inside: _there(folder, inside) for inside in insides}
    times = Counter(found.values())
    place = {inside: there if times[there] == 1 else inside for inside, there in found.items()}
    moved = [inside for inside, there in place.items() if there != inside]
    if moved and named_in:
        there = printable(os.path.join(folder, place[moved[0]]))  # noqa: PTH118
        logger.info(
            "`%s`: %d of %d folders that the images are said to be in are not there; those of `%s` are read from `%s`",
            printable(named_in), len(moved), len(place), printable(moved[0]), there,
        )  # fmt: skip
    return [
        os.path.normpath(os.path.join(folder, place[inside], name[len(inside) :].lstrip("/")))  # noqa: PTH118
        for inside, name in ((os.path.dirname(name), name) for name in names)  # noqa: PTH120
    ]


def _exists(folder: str, name: str) -> bool:
    return os.path.exists(os.path.join(folder, name))  # noqa: PTH110, PTH118


def _there(folder: str, inside: str) -> str:
    """`inside`, or its longest tail that is a folder below `folder`."""
    parts = inside.split("/")
    if not inside or ".." in parts or os.path.isdir(os.path.join(folder, inside)):  # noqa: PTH112, PTH118
        return inside
    for left_out in range(1, min(len(parts), MOST_LEFT_OUT + 1)):
        rest = "/".join(parts[left_out:]).lstrip("/")
        if rest and os.path.isdir(os.path.join(folder, rest)):  # noqa: PTH112, PTH118
            return rest
    return inside
