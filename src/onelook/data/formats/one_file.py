"""Splits whose labels are in one file, which lists the images; and images in the same folders that it does not list."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.label_rows import LabelRows, RowProblem
from onelook.data.formats.label_source import LabelSource, SizeHw, one_by_one
from onelook.data.formats.stray_files import StrayFile, entries_of
from onelook.data.image_files import IMAGE_SUFFIXES, suffix_of
from onelook.errors import DataError
from onelook.files.bounded import printable
from onelook.files.fault_kinds import Remark
from onelook.files.states import file_states

MAX_BYTES = 1 << 33


def one_file_source(
    spec: DatasetSpec,
    split: str,
    images: Sequence[str],
    listed: Sequence[str],
    *,
    single_cls: bool,
    read: Callable[[int, SizeHw], LabelRows],
    lost_rows: Callable[[], Sequence[RowProblem]],
    paths_of: Callable[[str], Sequence[str]],
) -> LabelSource:
    """The images of a split whose labels are in one file.

    Args:
        images: images of the split, see `images_of`.
        listed: all that the file lists.
        read: (number of an image, its height and width) -> its rows, as in `LabelSource`.
        lost_rows: see `LabelSource`.
        paths_of: gives all images that the file of another split lists.
    """
    path, known = str(spec.annotations[split]), set(listed)
    return LabelSource(
        images=images,
        label_files=[path] * len(images),
        has_labels=np.array([image in known for image in images]),
        files=[*images, path],
        states=file_states([*images, path]),
        rules=spec.rules(single_cls),
        read=one_by_one(read),
        lost_rows=lost_rows,
        lost_file=path,
        strays=_unlisted_images(spec, split, listed, paths_of),
    )


def images_of(spec: DatasetSpec, split: str, listed: Sequence[str]) -> list[str]:
    """The images of a split, sorted, each once: those that its file lists, or those of them that were chosen.

    Raises:
        DataError: there are none.
    """
    chosen = spec.chosen_images(split)
    images = sorted(set(listed if chosen is None else chosen))
    if not images:
        raise DataError(f"split `{split}`: `{printable(spec.annotations[split])}` lists no images")
    return images


def _unlisted_images(
    spec: DatasetSpec, split: str, listed: Sequence[str], paths_of: Callable[[str], Sequence[str]]
) -> tuple[StrayFile, ...]:
    """Remarks on the images in the folders of listed ones that no split lists; none if another split cannot be read."""
    if spec.chosen and split != next(iter(spec.chosen)):  # one file for all of them: once is enough
        return ()
    folders = sorted({os.path.dirname(path) for path in listed})  # noqa: PTH120 - plain strings: there are many
    entries = (entry for folder in folders for entry in entries_of(folder) if not entry.name.startswith("."))
    left = {entry.path for entry in entries if suffix_of(entry.name) in IMAGE_SUFFIXES}.difference(listed)
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
