"""Reads files that list images, whichever tool wrote them, and finds the images."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from onelook.data.formats.coco_paths import image_paths
from onelook.data.formats.csv_file import read_csv
from onelook.data.formats.cvat_file import read_cvat
from onelook.data.formats.labelstudio_file import file_names, read_labelstudio
from onelook.data.formats.listing import Listing
from onelook.files.bounded import StrPath
from onelook.files.states import file_states

LISTINGS: dict[str, Callable[[StrPath], Listing]] = {
    "csv": read_csv,
    "labelstudio": read_labelstudio,
    "cvat": read_cvat,
}


def read_listing(path: StrPath, label_format: str) -> Listing:
    """The content of a file, cached until the file changes.

    Raises:
        DataError: the file cannot be read or is not of this format.
    """
    return _remembered(os.fspath(path), label_format, *file_states([os.fspath(path)])[0].tolist())


@functools.lru_cache(maxsize=4)
def _remembered(path: str, label_format: str, *_state: int) -> Listing:
    """As `read_listing`; size and times of the file tell its states apart."""
    return LISTINGS[label_format](path)


def listed_paths(folder: str, listing: Listing, label_format: str, *, named_in: str = "") -> list[str]:
    """The path of each image of a listing; see `image_paths`."""
    names = [image.name for image in listing.images]
    if label_format == "labelstudio":
        names = [_file_of(folder, name) for name in names]
    return image_paths(folder, names, named_in=named_in)


def _file_of(folder: str, address: str) -> str:
    """The file below `folder` that an address names; the most literal name if none exists."""
    readings = list(file_names(address))
    there = (name for name in readings if os.path.exists(os.path.join(folder, name)))  # noqa: PTH110, PTH118
    return next(there, readings[0])
