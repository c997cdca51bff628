"""What makes a box or a polygon usable: the same rules for all label formats.

All coordinates are a fraction of the width and height of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import NO_ROWS, LabelRows, Outcome, RowProblem
from onelook.files.fault_kinds import FaultKind

# How far a coordinate may leave the image and still be taken for rounding, as a fraction of the image.
TOLERANCE = 1e-3
# What six written decimals can be off by; such rows are used as they are.
LAST_DIGIT = 1e-6
# A box with such sides, as a fraction of the image, is the whole image.
WHOLE = 0.995
# A box that leaves the image by more than this, as a fraction of it, was not just drawn a little too large.
CLEARLY_OUTSIDE = 0.05
OUTSIDE = "the centre is outside the image"
_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")

Values = npt.NDArray[np.float64]


class RefusedRow(Exception):  # noqa: N818
    """Why a row is not used; `value` is the culprit, if it is not the row as a whole, and `kind` that of the fault."""

    def __init__(
        self, reason: str, outcome: Outcome = "refused", value: str | None = None, *, kind: FaultKind | None = None
    ) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.value = value
        self.kind = kind


def without_mark(data: bytes) -> bytes:
    """The text of a file without a byte-order mark; RefusedRow if it is UTF-16."""
    if data.startswith(_UTF16_MARKS):
        raise RefusedRow("the file is UTF-16 text; save it as UTF-8")
    return data.removeprefix(_UTF8_MARK)


def need_no_comment(boxes: Values) -> npt.NDArray[np.bool_]:
    """(N,) which of the boxes, (N, 4) cxcywh, are used as written; NaN never is."""
    centre, size = boxes[:, :2], boxes[:, 2:]
    has_area = size.astype(np.float32) > 0
    is_inside = (centre - size / 2 >= -LAST_DIGIT) & (centre + size / 2 <= 1 + LAST_DIGIT)
    return np.asarray((has_area & is_inside).all(axis=1))


def inside(written: Values) -> tuple[Values, str]:
    """The coordinates of a row, clipped to the image if necessary, and a comment, empty if unchanged.

    Args:
        written: (4,) cxcywh, or (2 P,) x and y of P points of a polygon, P at least 3.

    Raises:
        RefusedRow: no area, or mostly outside the image.
    """
    if len(written) == 4:
        centre, size = written[:2], written[2:]
        corners = np.concatenate([centre - size / 2, centre + size / 2])
        if size.min() < 0:
            raise RefusedRow("a width or height is negative")
    else:
        points = written.reshape(-1, 2)
        corners = np.concatenate([points.min(axis=0), points.max(axis=0)])
        centre, size = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
    _require_area(size)
    if centre.min() < -TOLERANCE or centre.max() > 1 + TOLERANCE:
        raise RefusedRow(OUTSIDE, kind="outside")
    excess = max(-corners.min(), corners.max() - 1)
    if excess <= LAST_DIGIT:
        return written, ""
    comment = f"extends beyond the image by {excess:.2g} of its side"
    clipped = np.clip(corners, 0, 1)
    _require_area(clipped[2:] - clipped[:2])
    if len(written) > 4:
        return np.clip(written, 0, 1), comment
    return np.concatenate([(clipped[:2] + clipped[2:]) / 2, clipped[2:] - clipped[:2]]), comment


def may_be_corners(first: Sequence[float], second: Sequence[float], *, excess: float) -> bool:
    """Whether a box that leaves the image by `excess` would be within it, were its numbers x1 y1 x2 y2.

    Args:
        first: the first two of these, as written: the centre, or left and top.
        second: the last two: width and height.
    """
    pairs = zip(first, second, strict=True)
    return excess > CLEARLY_OUTSIDE and all(0 <= low < high <= 1 + TOLERANCE for low, high in pairs)


def refused_file(reason: str) -> LabelRows:
    """One refused row, for a file that cannot be used at all."""
    return replace(NO_ROWS, rows_read=1, problems=(RowProblem(0, "", reason, "refused"),))


def box_around(points: Values) -> Values:
    """(4,) cxcywh of the smallest box that holds the points, (P, 2)."""
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([(low + high) / 2, high - low])


def _require_area(size: Values) -> None:
    if size.astype(np.float32).min() <= 0:
        raise RefusedRow("no area inside the image: a width or height is 0", kind="no-area")
