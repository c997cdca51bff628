"""Reading every image and label file of a split once, many at a time, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import NO_ROWS, LabelBatch, batch_of
from onelook.data.formats.label_source import LabelSource
from onelook.data.parallel_map import Work, in_chunks
from onelook.files.fault_kinds import Remark
from onelook.files.image_headers import MAX_PIXELS
from onelook.files.images import ImageReport, check_image

NAME = "the scan of the dataset"
# From so many images on, the time to start processes is little beside what they save.
IMAGES_FOR_PROCESSES = 20_000


@dataclass(frozen=True)
class ScanChunk:
    """What a scan found in M consecutive images of a split and in their labels.

    Attributes:
        start: number of the first of them.
        sizes_hw: (M, 2) int32 height and width after EXIF rotation, pixels; 0 where unknown.
        image_digests: (M, 16) uint8, equal for images of equal content; zeros for one that could not be read.
        image_problems: why an image cannot be used, by its number in the chunk.
        image_notes: what is odd about an image that can be used, likewise.
        has_labels: (M,) whether an image has labels, or is said to have none.
        labels: the rows of each; of an image that cannot be used, what is said of them alone.
    """

    start: int
    sizes_hw: npt.NDArray[np.int32]
    image_digests: npt.NDArray[np.uint8]
    image_problems: Mapping[int, Remark]
    image_notes: Mapping[int, tuple[Remark, ...]]
    has_labels: npt.NDArray[np.bool_]
    labels: LabelBatch

    def __len__(self) -> int:
        return len(self.sizes_hw)


def scan_files(source: LabelSource, work: Work, *, max_pixels: int = MAX_PIXELS) -> Iterator[ScanChunk]:
    """Check each image, decoding it, and read its labels; chunks of the split, in order."""

    def look(numbers: range) -> ScanChunk:
        images = [check_image(source.images[number], max_pixels=max_pixels) for number in numbers]
        return ScanChunk(
            start=numbers.start,
            sizes_hw=np.array([image.size_hw for image in images], np.int32),
            image_digests=np.frombuffer(b"".join(image.digest.ljust(16, b"\0") for image in images), np.uint8).reshape(
                -1, 16
            ),
            image_problems={
                number: problem
                for number, image in enumerate(images)
                if (problem := image.problem or source.refused.get(numbers.start + number)) is not None
            },
            image_notes={number: image.notes for number, image in enumerate(images) if image.notes},
            has_labels=source.has_labels[numbers.start : numbers.stop],
            labels=_labels_of(source, numbers, images),
        )

    use_processes = source.may_fork and len(source.images) >= IMAGES_FOR_PROCESSES
    return in_chunks(look, len(source.images), work, name=NAME, use_processes=use_processes)


def _labels_of(source: LabelSource, numbers: range, images: Sequence[ImageReport]) -> LabelBatch:
    labelled = {number: image for number, image in zip(numbers, images, strict=True) if source.has_labels[number]}
    found = source.read(list(labelled), [image.size_hw for image in labelled.values()])
    rows = dict(zip(labelled, found, strict=True))
    for number, own in rows.items():
        if labelled[number].problem is not None or number in source.refused:
            rows[number] = replace(NO_ROWS, rows_read=own.rows_read, problems=own.problems)
    return batch_of([rows.get(number, NO_ROWS) for number in numbers])
