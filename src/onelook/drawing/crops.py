"""Crops of objects, and the names of their folders."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.files.images import Image
from onelook.geometry.boxes import xyxy_to_cxcywh

CROP_GAIN = 1.02
CROP_BORDER_PX = 10
MAX_FOLDER_NAME, MAX_FOLDER_BYTES = 100, 200


def crop(image: Image, box_xyxy: npt.NDArray[Any]) -> Image:
    """The part of an image within a box, 2 % larger and with a border of 10 px in all, as far as the image goes."""
    x, y, width, height = xyxy_to_cxcywh(np.asarray(box_xyxy, np.float64)).tolist()
    half_width, half_height = (width * CROP_GAIN + CROP_BORDER_PX) / 2, (height * CROP_GAIN + CROP_BORDER_PX) / 2
    top, bottom = max(0, int(y - half_height)), max(0, int(y + half_height))
    left, right = max(0, int(x - half_width)), max(0, int(x + half_width))
    return image[top:bottom, left:right]


def folder_name(class_name: str, class_id: int) -> str:
    """A class name as a safe folder name: path separators and other characters that a system refuses become `_`.

    >>> folder_name("../traffic light", 9), folder_name("", 2)
    ('.._traffic light', 'class2')
    """
    safe = "".join(c if c.isprintable() and c not in '<>:"/\\|?*' else "_" for c in class_name)
    safe = safe.strip().rstrip(".")[:MAX_FOLDER_NAME].encode()[:MAX_FOLDER_BYTES].decode(errors="ignore")
    return safe if safe.strip(".") else f"class{class_id}"
