"""Images that stand beside those of a split and that the one file with all labels does not list."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.stray_files import StrayFile, entries_of
from onelook.data.image_files import IMAGE_SUFFIXES, suffix_of
from onelook.errors import DataError
from onelook.files.bounded import printable
from onelook.files.fault_kinds import Remark


def unlisted_images(
    spec: DatasetSpec, split: str, paths: Sequence[str], paths_of: Callable[[str], Sequence[str]]
) -> tuple[StrayFile, ...]:
    """Remarks on the images in the folders of listed ones that no split lists; none if another split cannot be read.

    Args:
        paths: of all images that the file of `split` lists.
        paths_of: gives those of another split.
    """
    if spec.chosen and split != next(iter(spec.chosen)):  # one file for all of them: once is enough
        return ()
    folders = sorted({os.path.dirname(path) for path in paths})  # noqa: PTH120 - plain strings: there are many
    entries = (entry for folder in folders for entry in entries_of(folder) if not entry.name.startswith("."))
    left = {entry.path for entry in entries if suffix_of(entry.name) in IMAGE_SUFFIXES}.difference(paths)
    for other in spec.annotations:
        if left and other != split and _overlap(str(spec.splits[split][0]), str(spec.splits[other][0])):
            try:
                left.difference_update(paths_of(other))
            except DataError:
                return ()
    told = Remark(f"`{printable(os.path.basename(spec.annotations[split]))}` does not list it", "unlisted-image")  # noqa: PTH119
    return tuple(StrayFile(path, told) for path in sorted(left))


def _overlap(one: str, other: str) -> bool:
    """Whether one of two folders is the other, or in it."""
    return f"{one}{os.sep}".startswith(f"{other}{os.sep}") or f"{other}{os.sep}".startswith(f"{one}{os.sep}")
