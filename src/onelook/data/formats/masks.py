"""Run-length encoded masks, as in COCO: the box around one, without drawing it.

A mask of height H and width W is a list of run lengths down its columns, background and object in turn, background
first. In its compressed form each length is written in digits of 5 bits, the lowest first, one per character from `0`
on; bit 5 says that another digit follows, bit 4 of the last digit is the sign, and from the fourth length on what is
written is the difference to the length two before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.data.formats.row_rules import RefusedRow, Values

MAX_PIXELS = 1 << 31
_MAX_DIGITS = 8

Lengths = npt.NDArray[np.int64]


def box_of_mask(mask: Any) -> tuple[Values, tuple[int, int]]:
    """The box around the object of a mask.

    Args:
        mask: `{"size": [H, W], "counts": lengths or text}`, as read from JSON: anything may be in it.

    Returns:
        (4,) xyxy in pixels of the mask, and its height and width.

    Raises:
        RefusedRow: no mask, or one without an object.
    """
    size = mask.get("size") if isinstance(mask, dict) else None
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
        raise RefusedRow("the mask has no `size` of two whole numbers")
    height, width = size
    if height * width > MAX_PIXELS:
        raise RefusedRow(f"the mask has {width} x {height} pixels, more than the limit of {MAX_PIXELS}")
    lengths = _lengths(mask.get("counts"))
    if (lengths < 0).any() or (lengths > MAX_PIXELS).any() or int(lengths.sum()) != height * width:
        raise RefusedRow(f"the run lengths of the mask do not add up to its {width} x {height} pixels")
    return _box_of_lengths(lengths, height), (height, width)


def _lengths(counts: Any) -> Lengths:
    if isinstance(counts, str):
        return _uncompressed(counts)
    if isinstance(counts, list) and all(type(count) is int and 0 <= count <= MAX_PIXELS for count in counts):
        return np.array(counts, np.int64)
    raise RefusedRow("the mask has no `counts`: a list of whole numbers from 0 on, or a text")


def _uncompressed(text: str) -> Lengths:
    if not text.isascii():
        raise RefusedRow("the `counts` of the mask are damaged")
    digits = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - ord("0")
    if not len(digits):
        return np.zeros(0, np.int64)
    is_last = (digits & 0x20) == 0
    ends = np.flatnonzero(is_last) + 1
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    if (digits < 0).any() or (digits > 0x3F).any() or not is_last[-1] or (ends - starts).max() > _MAX_DIGITS:
        raise RefusedRow("the `counts` of the mask are damaged")
    position = np.arange(len(digits)) - np.repeat(starts, ends - starts)
    written = np.add.reduceat((digits & 0x1F) << (5 * position), starts)
    is_negative = (digits[ends - 1] & 0x10) != 0
    written -= np.where(is_negative, np.int64(1) << (5 * (ends - starts)), 0)
    lengths: Lengths = written.copy()
    lengths[1::2] = np.cumsum(written[1::2])
    lengths[2::2] = np.cumsum(written[2::2])
    return lengths


def _box_of_lengths(lengths: Lengths, height: int) -> Values:
    ends = np.cumsum(lengths)[1::2]
    runs = lengths[1::2]
    ends, runs = ends[runs > 0], runs[runs > 0]
    if not len(runs):
        raise RefusedRow("the mask is empty")
    first, last = ends - runs, ends - 1
    spans_columns = (first // height != last // height).any()
    top = 0 if spans_columns else int((first % height).min())
    bottom = height if spans_columns else int((last % height).max()) + 1
    return np.array([first.min() // height, top, last.max() // height + 1, bottom], np.float64)
