"""Where the images of a mosaic come from and lie on the canvas.

Four images around a random point: A. Bochkovskiy, C.-Y. Wang, H.-Y. M. Liao, "YOLOv4", 2020, section 3.4. Nine around
one of them are the same idea with smaller parts of more images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def draw_mosaic_images(rng: np.random.Generator, current: int, num_images: int, *, count: int) -> list[int]:
    """Image numbers in random order: `current` and `count` - 1 others, all different if there are enough images."""
    num_others = min(count - 1, num_images - 1)
    others = rng.choice(num_images - 1, num_others, replace=False) if num_others else np.zeros(0, np.int64)
    chosen = [current, *(others + (others >= current)).tolist()]
    while len(chosen) < count:
        chosen.append(int(rng.integers(num_images)))
    result: list[int] = np.array(chosen)[rng.permutation(count)].tolist()
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


def draw_corner(rng: np.random.Generator, side: int) -> tuple[int, int]:
    """Left and top of the window through which nine images are seen, on a canvas of three times `side` pixels."""
    x, y = rng.integers(0, side, 2, endpoint=True).tolist()
    return x, y


def place_nine(side: int, sizes_hw: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Left and top of nine images on a canvas of three times `side` pixels.

    The first lies in the middle, from (side, side) on; the others go round it clockwise from the top, each touching
    the one before. None covers another.

    >>> place_nine(10, [(10, 10)] * 9)
    [(10, 10), (10, 0), (20, 0), (20, 10), (20, 20), (10, 20), (0, 20), (0, 10), (0, 0)]
    """
    (h0, w0), (h1, w1), (h2, _), (h3, _), _, (_, w5), (_, w6), (h7, w7), (h8, w8) = sizes_hw
    right, bottom = side + w0, side + h0
    return [
        (side, side),
        (side, side - h1),
        (side + w1, side - h2),
        (right, side),
        (right, side + h3),
        (right - w5, bottom),
        (right - w5 - w6, bottom),
        (side - w7, bottom - h7),
        (side - w8, bottom - h7 - h8),
    ]
