"""Images side by side before the random perspective: one alone, or a mosaic of four or nine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onelook.data.augment.mosaic import draw_centre, draw_corner, draw_mosaic_images, place_around, place_nine
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
    """

    index: DatasetIndex
    drawn: npt.NDArray[np.int64] | None = None

    def image(self, number: int) -> int:
        """Image number in the dataset."""
        return number if self.drawn is None else int(self.drawn[number])

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
    drawn = draw_mosaic_images(rng, current, len(numbers.index), count=4)
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
    drawn = draw_mosaic_images(rng, current, len(numbers.index), count=9)
    sources = tuple(numbers.image(number) for number in drawn)
    sizes = [numbers.size_hw(source, side) for source in sources]
    x, y = draw_corner(rng, side)
    boxes = tuple(
        (left - x, top - y, width, height)
        for (left, top), (height, width) in zip(place_nine(side, sizes), sizes, strict=True)
    )
    return Canvas((2 * side, 2 * side), sources, boxes, boxes[0][:2])
