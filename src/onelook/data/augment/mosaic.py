"""Where the images of a mosaic come from and lie on the canvas.

Four images around a random point: A. Bochkovskiy, C.-Y. Wang, H.-Y. M. Liao, "YOLOv4", 2020, section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def draw_mosaic_images(rng: np.random.Generator, current: int, num_images: int) -> list[int]:
    """Four image numbers in random order: `current` and three others, all different if there are enough images."""
    num_others = min(3, num_images - 1)
    others = rng.choice(num_images - 1, num_others, replace=False) if num_others else np.zeros(0, np.int64)
    chosen = [current, *(others + (others >= current)).tolist()]
    while len(chosen) < 4:
        chosen.append(int(rng.integers(num_images)))
    result: list[int] = np.array(chosen)[rng.permutation(4)].tolist()
    return result


def draw_centre(rng: np.random.Generator, side: int) -> tuple[int, int]:
    """The point (x, y) where the four images meet, on a canvas of twice `side` pixels."""
    x, y = rng.integers(side // 2, 3 * side // 2, 2, endpoint=True).tolist()
    return x, y


def place_around(centre_xy: tuple[int, int], sizes_hw: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Left and top of four images that meet at the centre: top left, top right, bottom left, bottom right.

    >>> place_around((50, 40), [(10, 20)] * 4)
    [(30, 30), (50, 30), (30, 40), (50, 40)]
    """
    x, y = centre_xy
    return [
        (x - width if tile in (0, 2) else x, y - height if tile in (0, 1) else y)
        for tile, (height, width) in enumerate(sizes_hw)
    ]
