"""Images side by side before the random perspective: one alone, or a mosaic of four or nine.

Four images around a random point: A. Bochkovskiy, C.-Y. Wang, H.-Y. M. Liao, "YOLOv4", 2020, section 3.4. Nine around
one of them are the same idea with smaller parts of more images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onelook.geometry.letterbox import fitted_size, letterbox
from onelook.structures.dataset_index import DatasetIndex


@dataclass(frozen=True)
class Canvas:
    """Images side by side.

    Attributes:
        size_hw: height and width, pixels.
        sources: image numbers.
        boxes_xywh: left, top, width, height of each image on the canvas, pixels; it may reach beyond the border.
        anchor_xy: a corner that several images share, pixels.
    """

    size_hw: tuple[int, int]
    sources: tuple[int, ...]
    boxes_xywh: tuple[tuple[int, int, int, int], ...]
    anchor_xy: tuple[int, int]


@dataclass(frozen=True)
class ImageNumbers:
    """What the numbers of images mean.

    Attributes:
        index: the dataset.
        drawn: (N,) image numbers, if they do not mean the images of the dataset one by one.
        pool: the numbers that the other images of a mosaic are drawn from; all, if it is empty.
    """

    index: DatasetIndex
    drawn: npt.NDArray[np.int64] | None = None
    pool: tuple[int, ...] = ()

    def image(self, number: int) -> int:
        """Image number in the dataset."""
        return number if self.drawn is None else int(self.drawn[number])

    def any(self, rng: np.random.Generator) -> int:
        """A number drawn from the pool."""
        return self.pool[int(rng.integers(len(self.pool)))] if self.pool else int(rng.integers(len(self.index)))

    def with_others(self, rng: np.random.Generator, current: int, *, count: int) -> list[int]:
        """`current` and `count` - 1 others of the pool, see `draw_mosaic_images`."""
        if not self.pool:
            return draw_mosaic_images(rng, current, len(self.index), count=count)
        places = draw_mosaic_images(rng, self.pool.index(current), len(self.pool), count=count)
        return [self.pool[place] for place in places]

    def size_hw(self, image: int, side: int) -> tuple[int, int]:
        """Height and width of an image whose longer side is scaled to `side` pixels."""
        height, width = self.index.sizes_hw[image].tolist()
        return fitted_size((height, width), side)


def alone(index: DatasetIndex, image: int, canvas_hw: tuple[int, int]) -> Canvas:
    """One image, fitted into the middle of the canvas."""
    height, width = index.sizes_hw[image].tolist()
    fitted = letterbox((height, width), canvas_hw)
    box = (*fitted.origin_xy, fitted.content_hw[1], fitted.content_hw[0])
    return Canvas(canvas_hw, (image,), (box,), fitted.origin_xy)


def draw_mosaic(
    numbers: ImageNumbers,
    current: int,
    *,
    four: np.random.Generator,
    nine: np.random.Generator,
    share_of_nine: float,
    side: int,
) -> Canvas:
    """A mosaic of the current image and three others, or eight.

    Args:
        numbers: what is drawn from.
        current: number of the image that is shown in any case.
        four, nine: random numbers for either kind, so that neither moves those of the other.
        share_of_nine: probability of nine images.
        side: of the longer side of each image, pixels; the canvas is twice as large.
    """
    if nine.random() < share_of_nine:
        return _draw_nine(nine, numbers, current, side=side)
    return _draw_four(four, numbers, current, side=side)


def _draw_four(rng: np.random.Generator, numbers: ImageNumbers, current: int, *, side: int) -> Canvas:
    """Four images, each scaled to a longer side of `side` pixels, around a random point of a canvas twice as large."""
    drawn = numbers.with_others(rng, current, count=4)
    sources = tuple(numbers.image(number) for number in drawn)
    sizes = [numbers.size_hw(source, side) for source in sources]
    centre = draw_centre(rng, side)
    corners = place_around(centre, sizes)
    boxes = tuple((left, top, width, height) for (left, top), (height, width) in zip(corners, sizes, strict=True))
    return Canvas((2 * side, 2 * side), sources, boxes, centre)


def _draw_nine(rng: np.random.Generator, numbers: ImageNumbers, current: int, *, side: int) -> Canvas:
    """Nine images, each scaled to a longer side of `side` pixels, seen through a window of twice `side` pixels.

    They lie around the one in the middle of a larger canvas; where the window lies on it is random.
    """
    drawn = numbers.with_others(rng, current, count=9)
    sources = tuple(numbers.image(number) for number in drawn)
    sizes = [numbers.size_hw(source, side) for source in sources]
    x, y = draw_corner(rng, side)
    boxes = tuple(
        (left - x, top - y, width, height)
        for (left, top), (height, width) in zip(place_nine(side, sizes), sizes, strict=True)
    )
    return Canvas((2 * side, 2 * side), sources, boxes, boxes[0][:2])


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
