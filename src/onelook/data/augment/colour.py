"""Random change of hue, saturation and value."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from onelook.settings.hyperparameters import Hyperparameters

Gains = tuple[float, float, float]
HUES = 180  # OpenCV keeps hue in half degrees
STRIP_ROWS = 128  # at a time: what stays in the cache is worked on at twice the speed


def draw_colour_gains(rng: np.random.Generator, hyperparameters: Hyperparameters) -> Gains:
    """Factors for hue, saturation and value; all 1 if the three settings are 0."""
    h = hyperparameters
    hue, saturation, value = (1 + rng.uniform(-1, 1, 3) * (h.hsv_h, h.hsv_s, h.hsv_v)).tolist()
    return hue, saturation, value


def colour_tables(gains: Gains) -> npt.NDArray[np.uint8]:
    """(3, 256) new hue (0 to 179), saturation and value (0 to 255) for each old one.

    >>> colour_tables((1.0, 0.5, 2.0))[:, 200].tolist()
    [20, 100, 255]
    """
    levels = np.arange(256, dtype=np.float64)
    tables = np.empty((3, 256), np.uint8)
    tables[0] = (levels * gains[0]) % HUES
    tables[1] = np.clip(levels * gains[1], 0, 255)
    tables[2] = np.clip(levels * gains[2], 0, 255)
    return tables


def change_colours(rgb: npt.NDArray[np.uint8], gains: Gains) -> None:
    """Apply the gains to an RGB image (H, W, 3), in place."""
    if gains == (1.0, 1.0, 1.0):
        return
    tables = colour_tables(gains)
    hsv_strip = np.empty((STRIP_ROWS, *rgb.shape[1:]), np.uint8)
    plane_strips = np.empty((3, *hsv_strip.shape[:2]), np.uint8)
    for top in range(0, rgb.shape[0], STRIP_ROWS):
        strip = rgb[top : top + STRIP_ROWS]
        hsv = hsv_strip[: len(strip)]
        planes = list(plane_strips[:, : len(strip)])  # three plain look-ups are faster than one of three channels
        cv2.cvtColor(strip, cv2.COLOR_RGB2HSV, dst=hsv)
        cv2.split(hsv, planes)
        for plane, table in zip(planes, tables, strict=True):
            cv2.LUT(plane, table, dst=plane)
        cv2.merge(planes, dst=hsv)
        cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=strip)
