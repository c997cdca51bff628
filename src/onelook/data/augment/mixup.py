"""Blending two images: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.

Both keep their labels at full weight, as usual in detection.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

CONCENTRATION = 32.0  # of the beta distribution: ratios stay near one half


def draw_ratio(rng: np.random.Generator) -> float:
    """Share of the first image, 0 to 1."""
    return float(rng.beta(CONCENTRATION, CONCENTRATION))


def blend(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], ratio: float) -> None:
    """Mix `second` into `first`, in place, `first` with weight `ratio`."""
    cv2.addWeighted(first, ratio, second, 1 - ratio, 0.0, dst=first)
