"""Everything random about one training image, drawn before any pixel is touched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onelook.data.augment.colour import Gains, draw_colour_gains
from onelook.data.augment.copy_paste import draw_pastes
from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.augment.mixup import draw_ratio
from onelook.data.augment.mosaic import Canvas, ImageNumbers, alone, draw_mosaic
from onelook.data.augment.perspective import draw_perspective
from onelook.geometry.affine import Matrix, mirror, scaling, transform_points, translation
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex


@dataclass(frozen=True)
class Tile:
    """One source image and its place in the output.

    Attributes:
        source: image number in the dataset.
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
        image: number in the dataset of the image that this is about; the others of a mosaic are its partners.
        output_hw: height and width, pixels.
        tiles: one image, or the four or nine of a mosaic; they do not overlap.
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


def draw_plan(
    index: DatasetIndex,
    hyperparameters: Hyperparameters,
    *,
    key: SampleKey,
    output_hw: tuple[int, int],
    mosaic_allowed: bool = True,
    drawn: npt.NDArray[np.int64] | None = None,
    pool: tuple[int, ...] = (),
) -> AugmentPlan:
    """The plan of one training image: a pure function of its arguments.

    Args:
        index: sizes and labels of the images; no pixels are needed.
        hyperparameters: probabilities and ranges.
        key: run, epoch and image number.
        output_hw: height and width of the result, pixels; square if a mosaic is allowed.
        mosaic_allowed: with False, no mosaic and no mix-up.
        drawn: (N,) image numbers that stand instead of those of the dataset; `key` then counts in here.
        pool: numbers that the other images of mosaics are drawn from; empty for all of the dataset.
    """
    numbers = ImageNumbers(index, drawn, pool)
    layout, mixing = generator(key, Purpose.LAYOUT), generator(key, Purpose.MIXUP)
    nines = [generator(key, Purpose.MOSAIC9, layer=layer) for layer in (0, 1)]
    side, share_of_nine = output_hw[0], hyperparameters.mosaic9
    partner: tuple[Tile, ...] = ()
    ratio = 1.0
    if mosaic_allowed and layout.random() < hyperparameters.mosaic:
        canvas = draw_mosaic(numbers, key.index, four=layout, nine=nines[0], share_of_nine=share_of_nine, side=side)
        if mixing.random() < hyperparameters.mixup:
            ratio = draw_ratio(mixing)
            other = numbers.any(mixing)
            second = draw_mosaic(numbers, other, four=mixing, nine=nines[1], share_of_nine=share_of_nine, side=side)
            partner = _draw_tiles(index, hyperparameters, key=key, canvas=second, output_hw=output_hw, layer=1)
    else:
        canvas = alone(index, numbers.image(key.index), output_hw)
    return AugmentPlan(
        image=numbers.image(key.index),
        output_hw=output_hw,
        tiles=_draw_tiles(index, hyperparameters, key=key, canvas=canvas, output_hw=output_hw, layer=0),
        partner=partner,
        partner_ratio=ratio,
        colour_gains=draw_colour_gains(generator(key, Purpose.COLOUR), hyperparameters),
    )


def _draw_tiles(
    index: DatasetIndex,
    hyperparameters: Hyperparameters,
    *,
    key: SampleKey,
    canvas: Canvas,
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
