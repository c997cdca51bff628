"""Feature maps of a layer as one image."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

MAX_MAPS = 32
COLUMNS = 8
SMALLEST_PX = 64
GAP_PX = 2


def draw_feature_maps(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """The first 32 maps side by side, each from its minimum, dark, to its maximum, bright.

    Args:
        values: (C, H, W); maps below 64 pixels are enlarged by an integer factor.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    shown = values[:MAX_MAPS]
    enlarged = max(1, math.ceil(SMALLEST_PX / max(shown.shape[1:])))
    height, width = shown.shape[1] * enlarged, shown.shape[2] * enlarged
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    canvas = np.full((rows * (height + GAP_PX) - GAP_PX, columns * (width + GAP_PX) - GAP_PX, 3), 255, np.uint8)
    for number, feature_map in enumerate(shown):
        top, left = number // columns * (height + GAP_PX), number % columns * (width + GAP_PX)
        levels = np.kron(_as_levels(feature_map), np.ones((enlarged, enlarged), np.uint8))
        coloured = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)
        canvas[top : top + height, left : left + width] = coloured[..., ::-1]
    return canvas


def _as_levels(feature_map: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(H, W) 0 to 255; a map that is constant or not finite is 0."""
    values = np.nan_to_num(feature_map.astype(np.float64), posinf=0.0, neginf=0.0)
    span = float(np.ptp(values))
    if span == 0:
        return np.zeros(values.shape, np.uint8)
    levels: npt.NDArray[np.uint8] = np.rint((values - values.min()) * (255 / span)).astype(np.uint8)
    return levels
