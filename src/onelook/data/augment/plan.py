"""Everything random about one training image, drawn before any pixel is touched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onelook.data.augment.colour import Gains, draw_colour_gains
from onelook.data.augment.copy_paste import draw_pastes
from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.augment.mixup import draw_ratio
from onelook.data.augment.mosaic import draw_centre, draw_mosaic_images, place_around
from onelook.data.augment.perspective import draw_perspective
from onelook.geometry.affine import Matrix, mirror, scaling, transform_points, translation
from onelook.geometry.letterbox import fitted_size, letterbox
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex


@dataclass(frozen=True)
class Tile:
    """One source image and its place in the output.

    Attributes:
        source: image number in the data set.
        matrix: (3, 3) float64 from fractions of the image (0, 0) to (1, 1) to output pixels, everything composed.
        window: left, top, right, bottom of the part that may be seen, as fractions of the image: what lies on the
            canvas.
        extent_wh: width and height of the whole image in output pixels, before rotation, shear and perspective.
        pasted: label numbers whose mirrored copies are pasted into the image.
    """

    source: int
    matrix: Matrix
    window: tuple[float, float, float, float]
    extent_wh: tuple[float, float]
    pasted: tuple[int, ...] = ()


@dataclass(frozen=True)
class AugmentPlan:
    """How to make one training image.

    Attributes:
        image: number in the data set of the image that this is about; the others of a mosaic are its partners.
        output_hw: height and width, pixels.
        tiles: one image or the four of a mosaic; they do not overlap.
        partner: the tiles of a second mosaic that is blended in; empty if there is none.
        partner_ratio: weight of the first mosaic in the blend.
        colour_gains: factors for hue, saturation and value, applied last.
    """

    image: int
    output_hw: tuple[int, int]
    tiles: tuple[Tile, ...]
    partner: tuple[Tile, ...]
    partner_ratio: float
    colour_gains: Gains


@dataclass(frozen=True)
class _Canvas:
    """Images side by side before the random perspective.

    Attributes:
        size_hw: height and width, pixels.
        sources: image numbers.
        boxes_xywh: left, top, width, height of each image on the canvas, pixels; it may reach beyond the border.
        anchor_xy: a corner that all images share, pixels.
    """

    size_hw: tuple[int, int]
    sources: tuple[int, ...]
    boxes_xywh: tuple[tuple[int, int, int, int], ...]
    anchor_xy: tuple[int, int]


def draw_plan(
    index: DatasetIndex,
    hyperparameters: Hyperparameters,
    *,
    key: SampleKey,
    output_hw: tuple[int, int],
    mosaic_allowed: bool = True,
    drawn: npt.NDArray[np.int64] | None = None,
) -> AugmentPlan:
    """The plan of one training image: a pure function of its arguments.

    Args:
        index: sizes and labels of the images; no pixels are needed.
        hyperparameters: probabilities and ranges.
        key: run, epoch and image number.
        output_hw: height and width of the result, pixels; square if a mosaic is allowed.
        mosaic_allowed: with False, no mosaic and no mix-up.
        drawn: (N,) image numbers that stand in place of those of the data set; `key` then counts in here.
    """
    numbers = _Numbers(index, drawn)
    layout = generator(key, Purpose.LAYOUT)
    mixing = generator(key, Purpose.MIXUP)
    partner: tuple[Tile, ...] = ()
    ratio = 1.0
    if mosaic_allowed and layout.random() < hyperparameters.mosaic:
        canvas = _draw_mosaic(layout, numbers, key.index, side=output_hw[0])
        if mixing.random() < hyperparameters.mixup:
            ratio = draw_ratio(mixing)
            second = _draw_mosaic(mixing, numbers, int(mixing.integers(len(index))), side=output_hw[0])
            partner = _draw_tiles(index, hyperparameters, key=key, canvas=second, output_hw=output_hw, layer=1)
    else:
        canvas = _alone(index, numbers.image(key.index), output_hw)
    return AugmentPlan(
        image=numbers.image(key.index),
        output_hw=output_hw,
        tiles=_draw_tiles(index, hyperparameters, key=key, canvas=canvas, output_hw=output_hw, layer=0),
        partner=partner,
        partner_ratio=ratio,
        colour_gains=draw_colour_gains(generator(key, Purpose.COLOUR), hyperparameters),
    )


@dataclass(frozen=True)
class _Numbers:
    """What the numbers of images mean.

    Attributes:
        index: the data set.
        drawn: (N,) image numbers, if they do not mean the images of the data set one by one.
    """

    index: DatasetIndex
    drawn: npt.NDArray[np.int64] | None

    def image(self, number: int) -> int:
        """Image number in the data set."""
        return number if self.drawn is None else int(self.drawn[number])


def _draw_mosaic(rng: np.random.Generator, numbers: _Numbers, current: int, *, side: int) -> _Canvas:
    """Four images, each scaled to a longer side of `side` pixels, around a random point of a canvas twice as large."""
    sources = [numbers.image(number) for number in draw_mosaic_images(rng, current, len(numbers.index))]
    sizes = [_fitted(numbers.index, source, side) for source in sources]
    centre = draw_centre(rng, side)
    corners = place_around(centre, sizes)
    boxes = tuple((left, top, width, height) for (left, top), (height, width) in zip(corners, sizes, strict=True))
    return _Canvas((2 * side, 2 * side), tuple(sources), boxes, centre)


def _alone(index: DatasetIndex, image: int, canvas_hw: tuple[int, int]) -> _Canvas:
    """One image, fitted into the middle of the canvas."""
    height, width = index.sizes_hw[image].tolist()
    fitted = letterbox((height, width), canvas_hw)
    box = (*fitted.origin_xy, fitted.content_hw[1], fitted.content_hw[0])
    return _Canvas(canvas_hw, (image,), (box,), fitted.origin_xy)


def _draw_tiles(
    index: DatasetIndex,
    hyperparameters: Hyperparameters,
    *,
    key: SampleKey,
    canvas: _Canvas,
    output_hw: tuple[int, int],
    layer: int,
) -> tuple[Tile, ...]:
    """The images of a canvas under one random perspective; both layers of a mix-up are flipped alike."""
    left_right, up_down = generator(key, Purpose.FLIP).random(2).tolist()
    flip = mirror(
        output_hw[1],
        output_hw[0],
        left_right=left_right < hyperparameters.fliplr,
        up_down=up_down < hyperparameters.flipud,
    )
    geometry = generator(key, Purpose.GEOMETRY, layer=layer)
    perspective, gain = draw_perspective(geometry, hyperparameters, canvas_hw=canvas.size_hw, output_hw=output_hw)
    to_output = flip @ _onto_whole_pixel(perspective, canvas.anchor_xy)
    pasting = generator(key, Purpose.COPY_PASTE, layer=layer)
    tiles = []
    for source, (left, top, width, height) in zip(canvas.sources, canvas.boxes_xywh, strict=True):
        pasted = draw_pastes(pasting, index, source, hyperparameters.copy_paste) if hyperparameters.copy_paste else ()
        tiles.append(
            Tile(
                source=source,
                matrix=to_output @ translation(left, top) @ scaling(width, height),
                window=(
                    max(0.0, -left / width),
                    max(0.0, -top / height),
                    min(1.0, (canvas.size_hw[1] - left) / width),
                    min(1.0, (canvas.size_hw[0] - top) / height),
                ),
                extent_wh=(width * gain, height * gain),
                pasted=pasted,
            )
        )
    return tuple(tiles)


def _onto_whole_pixel(matrix: Matrix, point_xy: tuple[int, int]) -> Matrix:
    """The matrix, shifted by at most half a pixel so that a point lands on a pixel edge: renderers can then resize."""
    x, y = transform_points(matrix, np.array(point_xy, np.float64)).tolist()
    return translation(round(x) - x, round(y) - y) @ matrix


def _fitted(index: DatasetIndex, image: int, side: int) -> tuple[int, int]:
    height, width = index.sizes_hw[image].tolist()
    return fitted_size((height, width), side)
