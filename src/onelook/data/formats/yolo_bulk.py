"""Many YOLO label files at once, for datasets with a million of them: the rows of all as one table in NumPy.

Nothing is decided here: a file with anything to comment on is left to be read row by row, and for all others both ways
give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import NO_ROWS, LabelRows
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


def parse_clean(texts: Sequence[bytes], num_classes: int | None) -> list[LabelRows | None]:
    """The rows of each file of which each row is a box that is used just as it is; None for all others.

    Args:
        num_classes: class ids must be below; None accepts all.
    """
    # Short, and nothing but numbers and space, as far as single characters tell.
    is_clean = np.array([len(text) <= MAX_BULK_BYTES for text in texts], bool)
    if b"".join(texts).translate(None, PLAIN):
        is_clean &= [not text.translate(None, PLAIN) for text in texts]
    found: list[LabelRows | None] = [None] * len(texts)
    while is_clean.any():
        chosen = np.flatnonzero(is_clean)
        table = _Table([texts[number] for number in chosen.tolist()])
        is_bad = table.files_of_other_shape
        if not is_bad.any():
            class_ids, boxes = table.class_ids(), table.boxes()
            is_bad = table.files_of(_need_comment(class_ids, boxes, table.files, num_classes))
            if not is_bad.any():
                rows = _rows_of_files(class_ids.astype(np.int64), boxes.astype(np.float32), table.lengths)
                for number, own in zip(chosen.tolist(), rows, strict=True):
                    found[number] = own
                break
        is_clean[chosen[is_bad]] = False
    return found


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


def _rows_of_files(
    class_ids: npt.NDArray[np.int64], boxes: npt.NDArray[np.float32], lengths: npt.NDArray[np.int64]
) -> Iterator[LabelRows]:
    no_polygons = np.zeros(len(class_ids), np.int64)
    for start, end in pairwise([0, *np.cumsum(lengths).tolist()]):
        own = slice(start, end)
        yield LabelRows(class_ids[own], boxes[own], no_polygons[own], NO_ROWS.polygon_points, rows_read=end - start)


def _number(text: bytes) -> float:
    """The number that is written; NaN if there is none, or none so large."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if abs(number) < LARGEST else math.nan
