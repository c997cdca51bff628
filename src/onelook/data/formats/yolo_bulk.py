"""Many YOLO label files at once, for datasets with a million of them: the rows of all as one table in NumPy.

Nothing is decided here: a file with anything to comment on is left to be read row by row, and for all others both ways
give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.object_rows import LARGEST
from onelook.data.formats.row_rules import need_no_comment

# What numbers and the space between them are written with.
PLAIN = b"0123456789+-.eE \t\r\n"
MAX_BULK_BYTES = 1 << 16

_COLUMNS = 5
_NEW_LINE, _SPACE, _DOT, _ZERO = b"\n .0"
# Whole numbers below 2^53 are exact, so is the power of ten that divides them, and the quotient is the nearest number
# that there is: just what reading digit by digit gives.
_MOST_DECIMALS = 15
_ODD_FACTORS = (
    0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
    0xD6E8FEB86659FD93, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53,
)  # fmt: skip

_Places = npt.NDArray[np.intp]
_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CleanRows:
    """The R rows of those of n label files that hold boxes without need of comment, or nothing at all.

    Attributes:
        is_clean: (n,) whether a file is one of these.
        lengths: (n,) int64 rows of each; 0 for the others.
        class_ids: (R,) int64.
        boxes: (R, 4) float32 cxcywh, as a fraction of the image's width and height.
    """

    is_clean: npt.NDArray[np.bool_]
    lengths: npt.NDArray[np.int64]
    class_ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]

    def rows(self, number: int) -> LabelRows:
        """Those of a file that is clean."""
        count = int(self.lengths[number])
        start = int(self.lengths[:number].sum())
        own = slice(start, start + count)
        no_points = np.zeros((0, 2), np.float32)
        return LabelRows(self.class_ids[own], self.boxes[own], np.zeros(count, np.int64), no_points, rows_read=count)


def parse_clean(texts: Sequence[bytes], num_classes: int | None) -> CleanRows:
    """The rows of all files of which each row is a box that is used just as it is, class ids below `num_classes`."""
    # Short, and nothing but numbers and space, as far as single characters tell.
    is_clean = np.array([len(text) <= MAX_BULK_BYTES for text in texts], bool)
    if b"".join(texts).translate(None, PLAIN):
        is_clean &= [not text.translate(None, PLAIN) for text in texts]
    lengths = np.zeros(len(texts), np.int64)
    while is_clean.any():
        chosen = np.flatnonzero(is_clean)
        table = _Table([texts[number] for number in chosen.tolist()])
        is_bad = table.files_of_other_shape
        if not is_bad.any():
            class_ids, boxes = table.class_ids(), table.boxes()
            is_bad = table.files_of(_need_comment(class_ids, boxes, table.files, num_classes))
            if not is_bad.any():
                lengths[chosen] = table.lengths
                return CleanRows(is_clean, lengths, class_ids.astype(np.int64), boxes.astype(np.float32))
        is_clean[chosen[is_bad]] = False
    return CleanRows(is_clean, lengths, np.zeros(0, np.int64), np.zeros((0, 4), np.float32))


class _Table:
    """Where the rows and columns of n plain texts stand, all joined to one.

    Attributes:
        files: (R,) the text that each row stands in.
        lengths: (n,) rows of each text.
        files_of_other_shape: (n,) which texts have rows of other than five columns; the rest is void if any has.
    """

    def __init__(self, texts: Sequence[bytes]) -> None:
        # A lone CR ends a line, and a blank line does not count: so CR, LF and CRLF are all the same.
        self._text = b"\n".join([b"", *texts, b""]).replace(b"\r", b"\n")
        self._bytes = np.frombuffer(self._text, np.uint8)
        is_space = self._bytes <= _SPACE
        edges = np.flatnonzero(is_space[1:] != is_space[:-1]) + 1
        starts, ends = edges[0::2], edges[1::2]
        new_lines = np.flatnonzero(self._bytes == _NEW_LINE)
        columns = np.diff(np.searchsorted(starts, new_lines))
        self._file_ends = np.cumsum([len(text) + 1 for text in texts])
        is_other = (columns != 0) & (columns != _COLUMNS)
        self.files_of_other_shape = np.zeros(len(texts), bool)
        self.files_of_other_shape[self._files_at(new_lines[:-1][is_other])] = True
        if not is_other.any():
            self._starts, self._ends = starts.reshape(-1, _COLUMNS), ends.reshape(-1, _COLUMNS)
            self.files = self._files_at(self._starts[:, 0])
            self.lengths = np.bincount(self.files, minlength=len(texts))

    def class_ids(self) -> npt.NDArray[np.float64]:
        """(R,) the first column."""
        return self._numbers(self._starts[:, 0], self._ends[:, 0], is_fraction=False)

    def boxes(self) -> npt.NDArray[np.float64]:
        """(R, 4) the other columns."""
        return self._numbers(self._starts[:, 1:].ravel(), self._ends[:, 1:].ravel(), is_fraction=True).reshape(-1, 4)

    def files_of(self, rows: _Flags) -> _Flags:
        """(n,) which texts have one of these rows."""
        return np.bincount(self.files[rows], minlength=len(self.lengths)) > 0

    def _files_at(self, places: _Places) -> _Places:
        return np.searchsorted(self._file_ends, places, side="right")

    def _numbers(self, starts: _Places, ends: _Places, *, is_fraction: bool) -> npt.NDArray[np.float64]:
        """The numbers between these positions; NaN for text that is no number, or too large.

        Those written the usual way are read all at once: `0.` or `1.` and decimals, or else decimals alone.
        """
        decimals_at = starts + 2 if is_fraction else starts
        decimals = ends - decimals_at
        is_usual = (decimals > 0) & (decimals <= _MOST_DECIMALS)
        whole = np.zeros(len(starts), np.int64)
        if is_fraction:
            whole += self._bytes[starts] - np.uint8(_ZERO)  # unsigned: what is no digit becomes large
            is_usual &= (whole <= 1) & (self._bytes[starts + 1] == _DOT)
        width = int(decimals[is_usual].max(initial=0))
        is_ragged = len(decimals) > 0 and decimals.min() < width
        for column in range(width):
            digits = self._bytes.take(decimals_at + column, mode="clip") - np.uint8(_ZERO)
            if is_ragged:
                digits[decimals <= column] = 0
            is_usual &= digits <= 9
            whole *= 10
            whole += digits
        with np.errstate(all="ignore"):  # of hundreds of digits, which are read again below
            numbers = whole / (10.0**width if is_fraction else 10.0 ** (width - decimals))
        for odd in np.flatnonzero(~is_usual).tolist():
            numbers[odd] = _number(self._text[starts[odd] : ends[odd]])
        return numbers


def _need_comment(
    class_ids: npt.NDArray[np.float64], boxes: npt.NDArray[np.float64], files: _Places, num_classes: int | None
) -> _Flags:
    """(R,) which rows are not used just as they are, or are perhaps repeated in their file."""
    most = LARGEST if num_classes is None else num_classes
    is_fine = (class_ids >= 0) & (class_ids < most) & (class_ids == np.floor(class_ids)) & need_no_comment(boxes)
    # Equal rows of a file have equal sums; others have them by a chance of 2^-64, which would only cost time.
    sums = np.zeros(len(class_ids), np.uint64)
    for column, factor in zip((files.astype(np.float64), class_ids, *boxes.T), _ODD_FACTORS, strict=True):
        sums += (column + 0.0).view(np.uint64) * np.uint64(factor)  # + 0.0: minus zero is zero
    in_order = np.sort(sums)
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    return np.asarray(~is_fine | np.isin(sums, repeated) if len(repeated) else ~is_fine)


def _number(text: bytes) -> float:
    """The number that is written; NaN if there is none, or none so large."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if abs(number) < LARGEST else math.nan
