"""Images at their reduced size and in their frame, without anything random."""

from __future__ import annotations

import cv2
import numpy as np

from onelook.data.augment.plan import Image
from onelook.geometry.letterbox import Letterbox, fitted_size

FILL = 114  # grey of the border


def put_into_frame(image: Image, fitted: Letterbox, target: Image | None = None) -> Image:
    """An RGB image (H, W, 3), resized (bilinear) and bordered as `fitted` says; written into `target`, if given.

    Reduction by more than half should happen at decoding (`scale_hint_for`) or by `shrunk`.
    """
    height, width = fitted.content_hw
    left, top = fitted.origin_xy
    frame = np.empty((*fitted.frame_hw, 3), np.uint8) if target is None else target
    frame.fill(FILL)
    content = frame[top : top + height, left : left + width]
    if image.shape[:2] == fitted.content_hw:
        content[:] = image
    else:
        cv2.resize(image, (width, height), dst=content, interpolation=cv2.INTER_LINEAR)
    return frame


def shrunk(image: Image, size_hw: tuple[int, int], side: int) -> Image:
    """The image with a longer side of at most `side` pixels: averaged by whole factors first, then bilinear.

    Args:
        image: (H, W, 3) uint8, at full size, or decoded at 1/2, 1/4 or 1/8 with its sides rounded up.
        size_hw: height and width at full size, pixels.
        side: longest side wanted, pixels.
    """
    if max(size_hw) <= side:
        return image
    height, width = fitted_size(size_hw, side)
    # A decoder that rounds up hands out pixels of which only a part lies in the image: keep the exact scale.
    scale = round(max(size_hw) / max(image.shape[:2]))
    cover_y, cover_x = (scale * have / full for have, full in zip(image.shape[:2], size_hw, strict=True))
    smaller_hw = averaged_hw((image.shape[0], image.shape[1]), side)
    if smaller_hw != image.shape[:2]:
        image = np.asarray(cv2.resize(image, smaller_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    if image.shape[:2] == (height, width):
        return image
    x, y = width * cover_x / image.shape[1], height * cover_y / image.shape[0]
    resized = np.asarray(cv2.resize(image, None, fx=x, fy=y, interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.ascontiguousarray(resized[:height, :width])


def averaged_hw(size_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width after the first step of `shrunk`, which averages blocks of a whole number of pixels.

    >>> averaged_hw((480, 1300), 640), averaged_hw((480, 1279), 640)
    ((240, 650), (480, 1279))
    """
    factor = max(1, max(size_hw) // side)
    return max(1, size_hw[0] // factor), max(1, size_hw[1] // factor)


class BandAverage:
    """An image averaged to a smaller size, given from top to bottom in bands of rows: as `INTER_AREA` does it.

    Args:
        size_hw: height and width of the image, pixels.
        smaller_hw: height and width of the result.

    Attributes:
        width: width of the image, pixels.
    """

    _ROWS = 64  # that are held as floats

    def __init__(self, size_hw: tuple[int, int], smaller_hw: tuple[int, int]) -> None:
        self._sums = np.zeros((*smaller_hw, 3), np.float32)
        self.width = size_hw[1]
        self._rows_each = size_hw[0] / smaller_hw[0]
        self._next = 0

    def add(self, band: Image) -> None:
        """Take in the next rows, (rows, W, 3) uint8."""
        height, width = self._sums.shape[:2]
        for start in range(0, len(band), self._ROWS):
            rows = band[start : start + self._ROWS].astype(np.float32)
            narrow = cv2.resize(rows, (width, len(rows)), interpolation=cv2.INTER_AREA)
            tops = np.arange(self._next, self._next + len(rows)) / self._rows_each
            bottoms = tops + 1 / self._rows_each
            first, last = int(tops[0]), min(int(np.ceil(bottoms[-1])), height)
            of = np.arange(first, last)[:, None]  # the rows of the result that these belong to, by their shares
            shares = (np.minimum(bottoms, of + 1) - np.maximum(tops, of)).clip(0).astype(np.float32)
            self._sums[first:last] += np.tensordot(shares, narrow, axes=1)
            self._next += len(rows)

    def pixels(self) -> Image:
        """The result, (H, W, 3) uint8, when all rows have come."""
        return np.rint(self._sums).astype(np.uint8)


def num_halvings(size_hw: tuple[int, ...], extent_wh: tuple[float, float]) -> int:
    """How often an image is halved until it is less than twice as large as it will be seen.

    >>> num_halvings((480, 640), (100, 75))
    2
    """
    (height, width), count = size_hw[:2], 0
    while width >= 2 * extent_wh[0] and height >= 2 * extent_wh[1] and min(height, width) >= 2:
        height, width, count = height // 2, width // 2, count + 1
    return count


def halved(image: Image, times: int) -> Image:
    """The image (H, W, 3), halved a number of times by averaging pixels, sizes rounded down."""
    for _ in range(times):
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    return image
