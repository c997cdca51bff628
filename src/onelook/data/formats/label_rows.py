"""What a reader of labels gives back, whatever the format: usable rows, and an account of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from onelook.files.fault_kinds import FaultKind

Outcome = Literal["clipped", "deduplicated", "refused", "unknown class", "ignored", "note"]


@dataclass(frozen=True)
class RowProblem:
    """A row that was not used exactly as written.

    Attributes:
        line: counts from 1; 0 means the file as a whole, or a file that has no lines.
        value: the text of the row, shortened, printable; of an unknown class, its id or name.
        outcome: what happened to it; `ignored` rows are valid, but left out by a rule of their format; a
            `note` is about the file and stands for no row.
        place: where in a file without lines, such as `annotations[7]`.
        kind: kind of fault; None if the outcome says it all.
    """

    line: int
    value: str
    reason: str
    outcome: Outcome
    place: str = ""
    kind: FaultKind | None = None


@dataclass(frozen=True)
class LabelRows:
    """The rows of one label file: N usable ones with P polygon points in all.

    Attributes:
        boxes: (N, 4) float32 cxcywh, as a fraction of the image's width and height; sides above 0.
        polygon_lengths: (N,) int64 points of the polygon of each row; 0 for a plain box.
        polygon_points: (P, 2) float32 x, y, as a fraction of the image's width and height.
        rows_read: rows that are not blank; N plus those deduplicated, refused and ignored.
        rows_with_keypoints: usable rows that hold keypoints, too, which are not used; none of them is clipped.
        problems: one for each row that was not used exactly as written, in the order of the file.
    """

    class_ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    polygon_lengths: npt.NDArray[np.int64]
    polygon_points: npt.NDArray[np.float32]
    rows_read: int
    rows_with_keypoints: int = 0
    problems: tuple[RowProblem, ...] = ()

    def __len__(self) -> int:
        return len(self.class_ids)


NO_ROWS = LabelRows(
    np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros((0, 2), np.float32), 0
)


@dataclass(frozen=True)
class LabelBatch:
    """The rows of n label files, one file after the other: N usable rows with P polygon points in all.

    Attributes:
        class_ids, boxes, polygon_lengths, polygon_points: as in `LabelRows`, for all rows.
        lengths: (n,) int64 usable rows of each file.
        rows_read: (n,) int64 rows of each file that are not blank.
        rows_with_keypoints: (n,) int64 of each file, as in `LabelRows`.
        problems: for each file that has any, by its number in the batch.
    """

    class_ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    polygon_lengths: npt.NDArray[np.int64]
    polygon_points: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int64]
    rows_read: npt.NDArray[np.int64]
    rows_with_keypoints: npt.NDArray[np.int64]
    problems: Mapping[int, tuple[RowProblem, ...]]


def batch_of(files: Sequence[LabelRows]) -> LabelBatch:
    """The rows of several files as one."""
    return LabelBatch(
        np.concatenate([np.zeros(0, np.int64), *(rows.class_ids for rows in files)]),
        np.concatenate([np.zeros((0, 4), np.float32), *(rows.boxes for rows in files)]),
        np.concatenate([np.zeros(0, np.int64), *(rows.polygon_lengths for rows in files)]),
        np.concatenate([np.zeros((0, 2), np.float32), *(rows.polygon_points for rows in files)]),
        np.array([len(rows) for rows in files], np.int64),
        np.array([rows.rows_read for rows in files], np.int64),
        np.array([rows.rows_with_keypoints for rows in files], np.int64),
        {number: rows.problems for number, rows in enumerate(files) if rows.problems},
    )
