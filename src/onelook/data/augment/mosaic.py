"""Images side by side before the random perspective: one alone, or a mosaic of four or nine.

Four images around a random point: A. Bochkovskiy, C.-Y. Wang, H.-Y. M. Liao, "YOLOv4", 2020, section 3.4. Nine around
one of them are the same idea with smaller parts of more images. Renderers draw each image straight into the output, cut
to its part of the canvas, and labels are cut with it; so nothing is left to do here but to say where the images lie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onelook.data.augment.draft import Canvas, Draft, ImageNumbers, Stream
from onelook.data.augment.keys import Purpose, generator
from onelook.geometry.letterbox import fitted_size


def draw(draft: Draft, stream: Stream) -> None:
    """Instead of one image alone, a mosaic with it, by the probability `mosaic`."""
    if not draft.mosaic_allowed or not draft.hyperparameters.mosaic:
        return
    rng = stream(0)
    if rng.random() < draft.hyperparameters.mosaic:
        draft.canvases = [mosaic_with(draft, draft.key.index, rng, layer=0)]


def mosaic_with(draft: Draft, current: int, four: np.random.Generator, *, layer: int) -> Canvas:
    """A mosaic of four images, or by the probability `mosaic9` of nine, each scaled to a longer side of the output's.

    Four lie around a random point of the canvas. Nine lie around the one in the middle of a larger canvas, which is
    seen through a window of the size of this one; where the window lies is random.

    Args:
        draft: the plan so far; the canvas is twice as large as its output.
        four: random numbers for four images; nine have a stream of their own, so that neither moves the other.
    """
    side, share_of_nine = draft.output_hw[0], draft.hyperparameters.mosaic9
    nine = generator(draft.key, Purpose.MOSAIC9, layer=layer) if share_of_nine else None
    if nine is not None and nine.random() < share_of_nine:
        sources, sizes = _draw_images(nine, draft.numbers, current, count=9, side=side)
        x, y = draw_corner(nine, side)
        corners = [(left - x, top - y) for left, top in place_nine(side, sizes)]
        anchor = corners[0]
    else:
        sources, sizes = _draw_images(four, draft.numbers, current, count=4, side=side)
        anchor = draw_centre(four, side)
        corners = place_around(anchor, sizes)
    boxes = tuple((left, top, width, height) for (left, top), (height, width) in zip(corners, sizes, strict=True))
    return Canvas((2 * side, 2 * side), sources, boxes, anchor)


def _draw_images(
    rng: np.random.Generator, numbers: ImageNumbers, current: int, *, count: int, side: int
) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """`count` images in random order, `current` among them, and their heights and widths at that side, pixels."""
    pool = numbers.candidates
    drawn = [pool[number] for number in draw_mosaic_images(rng, pool.index(current), len(pool), count=count)]
    sources = tuple(numbers.image(number) for number in drawn)
    sizes = numbers.index.sizes_hw[list(sources)].tolist()
    return sources, [fitted_size((height, width), side) for height, width in sizes]


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
