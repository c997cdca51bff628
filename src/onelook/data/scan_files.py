"""Looking at every image and label file of a split once, in threads, in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import LabelFormat, LabelRows
from onelook.data.scan_cache import ABSENT
from onelook.data.work import Work, each
from onelook.errors import DataError
from onelook.files.bounded import content_digest, read_bounded
from onelook.files.images import MAX_FILE_BYTES, ImageReport, check_image

NAME = "the scan of the data set"


@dataclass(frozen=True)
class FilePair:
    """An image file and its label file.

    Attributes:
        image: path of the image.
        label: path of the label file, there or not.
        has_label: whether it is there.
    """

    image: str
    label: str
    has_label: bool


@dataclass(frozen=True)
class PairReport:
    """What was found in the files of a pair; `labels` is None if there is no label file."""

    image: ImageReport
    labels: LabelRows | None

    @property
    def content(self) -> bytes:
        """32 bytes that are equal for equal files."""
        return _content(self.image.digest, self.labels.digest if self.labels is not None else b"")


def pairs_of(images: Sequence[str], labels: Sequence[str], label_states: npt.NDArray[np.int64]) -> list[FilePair]:
    """Each image with its label file."""
    present = (label_states[:, 0] != ABSENT).tolist()
    return [FilePair(*pair) for pair in zip(images, labels, present, strict=True)]


def scan_files(
    pairs: Sequence[FilePair], label_format: LabelFormat, *, num_classes: int | None, work: Work
) -> list[PairReport]:
    """Check each image, decoding it, and read its labels; one report per pair, in order.

    Raises:
        StopRequested: `work.stop_requested` said so.
    """

    def look(pair: FilePair) -> PairReport:
        labels = label_format.read_labels(pair.label, num_classes) if pair.has_label else None
        return PairReport(check_image(pair.image), labels)

    return list(each(look, pairs, work, name=NAME))


def content_hashes(pairs: Sequence[FilePair], work: Work) -> npt.NDArray[np.uint8]:
    """(N, 32) content of each pair of files, as in `PairReport.content`, by reading alone."""

    def look(pair: FilePair) -> bytes:
        return _content(_digest(pair.image), _digest(pair.label) if pair.has_label else b"")

    found = each(look, pairs, work, name=NAME)
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)


def _content(image: bytes, label: bytes) -> bytes:
    return image.ljust(16, b"\0") + label.ljust(16, b"\0")


def _digest(path: str) -> bytes:
    try:
        return content_digest(read_bounded(path, MAX_FILE_BYTES))
    except DataError:
        return b""
