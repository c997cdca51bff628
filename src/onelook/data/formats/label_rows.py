"""What a reader of labels gives back, whatever the format: usable rows, and an account of all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Outcome = Literal["clipped", "deduplicated", "refused", "unknown class", "ignored", "note"]


@dataclass(frozen=True)
class RowProblem:
    """A row that was not used just as it stands.

    Attributes:
        line: counts from 1; 0 means the file as a whole, or a file that has no lines.
        value: the text of the row, shortened, printable; of an unknown class, its id or name.
        reason: what is wrong with it.
        outcome: what was done about it; `ignored` rows are right, and left out by a rule of their format; a
            `note` is about the file and stands for no row.
        place: where in a file without lines, such as `annotations[7]`.
    """

    line: int
    value: str
    reason: str
    outcome: Outcome
    place: str = ""


@dataclass(frozen=True)
class LabelRows:
    """The rows of one label file: N usable ones with P outline points in all.

    Attributes:
        class_ids: (N,) int64.
        boxes: (N, 4) float32 cxcywh, as a fraction of the image's width and height; sides above 0.
        polygon_lengths: (N,) int64 points of the outline of each row; 0 for a plain box.
        polygon_points: (P, 2) float32 x, y, as a fraction of the image's width and height.
        rows_read: rows that are not blank; N plus those deduplicated, refused and ignored.
        digest: 16 bytes that are equal for equal files; empty if the file could not be read.
        problems: one for each row that was not used just as it stands, in the order of the file.
    """

    class_ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    polygon_lengths: npt.NDArray[np.int64]
    polygon_points: npt.NDArray[np.float32]
    rows_read: int
    digest: bytes = b""
    problems: tuple[RowProblem, ...] = ()

    def __len__(self) -> int:
        return len(self.class_ids)
