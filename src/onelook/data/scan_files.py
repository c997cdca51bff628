"""Looking at every image and label file of a split once, in threads, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, digest_of_file
from onelook.data.work import Work, each
from onelook.files.images import ImageReport, check_image

NAME = "the scan of the data set"


@dataclass(frozen=True)
class PairReport:
    """What was found in an image and its labels; `labels` is None if nobody gave any."""

    image: ImageReport
    labels: LabelRows | None

    @property
    def content(self) -> bytes:
        """32 bytes that are equal for equal files."""
        return _content(self.image.digest, self.labels.digest if self.labels is not None else b"")


def scan_files(source: LabelSource, work: Work) -> Iterator[PairReport]:
    """Check each image, decoding it, and read its labels; one report per image, in order.

    Raises:
        StopRequested: `work.stop_requested` said so.
    """

    def look(number: int) -> PairReport:
        image = check_image(source.images[number])
        return PairReport(image, source.read(number, image.size_hw) if source.has_labels[number] else None)

    return each(look, range(len(source.images)), work, name=NAME)


def content_hashes(source: LabelSource, work: Work) -> npt.NDArray[np.uint8]:
    """(N, 32) content of each image and its labels, as in `PairReport.content`, by reading alone."""

    def look(number: int) -> bytes:
        labels = source.digest(number) if source.has_labels[number] else b""
        return _content(digest_of_file(source.images[number]), labels)

    found = each(look, range(len(source.images)), work, name=NAME)
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)


def _content(image: bytes, label: bytes) -> bytes:
    return image.ljust(16, b"\0") + label.ljust(16, b"\0")
