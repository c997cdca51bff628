"""The labels of an image, as the metrics need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ImageLabels:
    """The labels of one image, in pixels of the original image, as the metrics need them.

    Attributes:
        boxes: (N, 4) float64 or float32 xyxy, pixels.
        is_crowd: (N,) bool; a crowd region may absorb any number of detections and is never missed.
        areas: (N,) float, square pixels, for the size split; None means the areas of the boxes.
    """

    boxes: npt.NDArray[Any]
    class_ids: npt.NDArray[np.int64]
    is_crowd: npt.NDArray[np.bool_] | None = None
    areas: npt.NDArray[Any] | None = None
