"""Thumbnails of images."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from onelook.files.images import encode_image, read_image, scale_hint_for

SIDE_PX = 512
QUALITY = 80


def thumbnail(path: str, size_hw: tuple[int, int], *, max_pixels: int) -> bytes:
    """A JPEG of an image file whose longest side has at most 512 pixels.

    Raises:
        DataError: the image cannot be read any more.
    """
    hint = scale_hint_for(max(size_hw), 2 * SIDE_PX)
    return encode_image(_shrunk(read_image(path, scale_hint=hint, max_pixels=max_pixels)), ".jpg", quality=QUALITY)


def _shrunk(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = SIDE_PX / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
