"""The images of a split and the reader of their labels, as the scan gets them from a format."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import LabelRows, RowProblem
from onelook.data.formats.stray_files import StrayFile, pair_labels, unread_images
from onelook.files.fault_kinds import Remark
from onelook.files.states import ABSENT, file_states

SizeHw = tuple[int, int]
Value = TypeVar("Value")


@dataclass(frozen=True)
class LabelSource:
    """The N images of a split and where their labels stand, whatever the format.

    Attributes:
        images: paths in a fixed order, each once.
        label_files: label file of each image, whether it exists or not.
        has_labels: (N,) whether an image has labels, or is said to have none.
        files: all files that the result of a scan depends on, images first.
        states: (number of files, 3) size and times of each, see `file_states`.
        rules: everything else that the result depends on, as text.
        read: (numbers of images with labels, height and width of each in pixels or (0, 0) if unknown) -> the rows of
            each; never raises for what is in a file; called in threads.
        may_fork: `read` may also be called in forked processes.
        lost_rows: gives the labels that belong to no image of the split.
        refused: images that cannot be used for a reason other than their content, by number.
        strays: files that are not used, or in an unusual way.
        names: names of the images in the fingerprint of the dataset; by default their paths below its root.
    """

    images: Sequence[str]
    label_files: Sequence[str]
    has_labels: npt.NDArray[np.bool_]
    files: Sequence[str]
    states: npt.NDArray[np.int64]
    rules: str
    read: Callable[[Sequence[int], Sequence[SizeHw]], Sequence[LabelRows]]
    may_fork: bool = False
    lost_rows: Callable[[], Sequence[RowProblem]] = tuple
    lost_file: str = ""
    refused: Mapping[int, Remark] = field(default_factory=dict)
    strays: tuple[StrayFile, ...] = ()
    names: Sequence[str] = ()

    @property
    def first_missing(self) -> str | None:
        """The first label file that was looked for and is not there, if any."""
        missing = np.flatnonzero(~self.has_labels)
        return self.label_files[int(missing[0])] if len(missing) else None


def paired_source(
    images: Sequence[str],
    label_files: Sequence[str],
    *,
    rules: str,
    roots: Sequence[tuple[str, str]],
    unread: Sequence[str],
    read: Callable[[Sequence[str], Sequence[SizeHw]], Sequence[LabelRows]],
    may_fork: bool = False,
) -> LabelSource:
    """The images of a split with one label file per image, which may be missing.

    Args:
        rules: everything else that the result depends on, as text.
        roots: pairs of a folder of images and the folder of their label files.
        read: (label files, heights and widths of their images) -> the rows of each.
    """
    states = file_states([*images, *label_files])
    has_labels = states[len(images) :, 0] != ABSENT
    paired, refused, strays = pair_labels(images, label_files, has_labels.tolist(), roots=roots)
    if paired != label_files:
        label_files = paired
        states = file_states([*images, *label_files])
        has_labels = states[len(images) :, 0] != ABSENT

    return LabelSource(
        images=images,
        label_files=label_files,
        has_labels=has_labels,
        files=[*images, *label_files],
        states=states,
        rules=f"{rules} {refused}" if refused else rules,
        refused=refused,
        strays=(*strays, *unread_images(unread)),
        read=lambda numbers, sizes_hw: read([label_files[number] for number in numbers], sizes_hw),
        may_fork=may_fork,
    )


def one_by_one(
    read: Callable[[Value, SizeHw], LabelRows],
) -> Callable[[Sequence[Value], Sequence[SizeHw]], list[LabelRows]]:
    """What gives the rows of several images or label files, from what gives those of one."""
    return lambda things, sizes_hw: list(map(read, things, sizes_hw))


class Lazy(Generic[Value]):
    """A value that is computed on first use, once for all threads."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[Value] = []

    def __call__(self) -> Value:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
        return self._made[0]
