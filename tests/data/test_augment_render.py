"""Pixels of training images against a renderer that goes pixel by pixel from first principles."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from synthetic_index import ArrayImages, make_index, smooth_image

from onelook.data.augment.augmentations import draw_plan
from onelook.data.augment.colour import change_colours
from onelook.data.augment.keys import SampleKey
from onelook.data.augment.plan import AugmentPlan, Tile
from onelook.data.augment.render_cpu import render_plan
from onelook.data.augment.resize import put_into_frame, shrunk
from onelook.geometry.affine import scaling, translation
from onelook.geometry.letterbox import fitted_size, letterbox
from onelook.settings.hyperparameters import Hyperparameters

SIDE = 96
SIZES = [(72, 96), (96, 72), (96, 96), (40, 96), (96, 30), (50, 60)]
INDEX = make_index(SIZES)
IMAGES = ArrayImages([smooth_image(h, w, n) for n, (h, w) in enumerate(SIZES)])
NO_COLOUR = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
# 0.6 of the size is the least here: below one half, pixels are averaged first
AXIS_ALIGNED = Hyperparameters(**NO_COLOUR, scale=0.4, flipud=0.5)
TURNED = Hyperparameters(**NO_COLOUR, scale=0.3, degrees=30, shear=10, flipud=0.5)
TILTED = Hyperparameters(**NO_COLOUR, scale=0.3, degrees=15, perspective=0.001)


def sampled(image: npt.NDArray[np.uint8], x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]):  # type: ignore[no-untyped-def]
    """Bilinear values at continuous positions; the edge pixels are repeated."""
    x, y = x - 0.5, y - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    h, w = image.shape[:2]

    def at(row: npt.NDArray[np.int64], column: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return image[row.clip(0, h - 1), column.clip(0, w - 1)].astype(float)

    upper = at(top, left) * (1 - fx) + at(top, left + 1) * fx
    lower = at(top + 1, left) * (1 - fx) + at(top + 1, left + 1) * fx
    return upper * (1 - fy) + lower * fy


def by_hand(tiles: tuple[Tile, ...], images: ArrayImages, output_hw: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Every output pixel centre taken back into every tile, one look-up each."""
    output = np.full((*output_hw, 3), 114.0)
    rows, columns = np.mgrid[0 : output_hw[0], 0 : output_hw[1]]
    centres = np.stack([columns + 0.5, rows + 0.5, np.ones(output_hw)], axis=-1)
    for tile in tiles:
        source = centres @ np.linalg.inv(tile.matrix).T
        u, v = source[..., 0] / source[..., 2], source[..., 1] / source[..., 2]
        left, top, right, bottom = tile.window
        seen = (u >= left) & (u < right) & (v >= top) & (v < bottom)
        image = images.image(tile.source)
        output[seen] = sampled(image, u[seen] * image.shape[1], v[seen] * image.shape[0])
    return output


@pytest.mark.parametrize("hyperparameters", [AXIS_ALIGNED, TURNED, TILTED], ids=["axis-aligned", "turned", "tilted"])
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_pixels_are_those_of_the_plain_definition(hyperparameters: Hyperparameters, mosaic: float) -> None:
    for epoch in range(6):
        key = SampleKey(1, epoch, epoch % len(SIZES))
        chosen = hyperparameters.model_copy(update={"mosaic": mosaic})
        plan = draw_plan(INDEX, chosen, key=key, output_hw=(SIDE, SIDE))
        difference = np.abs(render_plan(plan, INDEX, IMAGES) - by_hand(plan.tiles, IMAGES, plan.output_hw)).max(axis=-1)
        assert np.mean(difference) < 0.6
        assert np.mean(difference > 4) < 0.002  # single pixels whose centre lies on a seam


def test_only_images_that_are_seen_are_asked_for() -> None:
    asked: list[int] = []

    class Watched(ArrayImages):
        def image(self, number: int) -> npt.NDArray[np.uint8]:
            asked.append(number)
            return super().image(number)

    seen = Tile(0, scaling(96, 96), (0, 0, 1, 1), (96, 96))
    unseen = Tile(1, translation(96, 0) @ scaling(96, 96), (0, 0, 1, 1), (96, 96))
    off_canvas = Tile(2, scaling(96, 96), (1.2, 0, 1, 1), (96, 96))
    plan = AugmentPlan(0, (SIDE, SIDE), (seen, unseen, off_canvas))
    render_plan(plan, INDEX, Watched(IMAGES.arrays))
    assert asked == [0]


def test_without_augmentation_an_image_that_fits_comes_through_unchanged() -> None:
    still = Hyperparameters(**NO_COLOUR, translate=0, scale=0, fliplr=0, mosaic=0)
    plan = draw_plan(INDEX, still, key=SampleKey(0, 0, 2), output_hw=(SIDE, SIDE))
    np.testing.assert_array_equal(render_plan(plan, INDEX, IMAGES), IMAGES.arrays[2])


def test_flipped_images_are_exactly_mirrored() -> None:
    still = Hyperparameters(**NO_COLOUR, translate=0, scale=0, mosaic=0, fliplr=1, flipud=1)
    plan = draw_plan(INDEX, still, key=SampleKey(0, 0, 2), output_hw=(SIDE, SIDE))
    np.testing.assert_array_equal(render_plan(plan, INDEX, IMAGES), IMAGES.arrays[2][::-1, ::-1])


def test_small_tiles_are_averaged_not_picked() -> None:
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 255
    plan = AugmentPlan(0, (24, 24), (Tile(0, scaling(24, 24), (0, 0, 1, 1), (24, 24)),))
    result = render_plan(plan, INDEX, ArrayImages([stripes]))
    assert np.abs(result.astype(int) - 127).max() <= 1


def test_mix_up_blends_two_mosaics_by_the_ratio() -> None:
    plan = draw_plan(
        INDEX, AXIS_ALIGNED.model_copy(update={"mixup": 1.0}), key=SampleKey(0, 0, 0), output_hw=(SIDE, SIDE)
    )
    first = render_plan(replace(plan, partner=()), INDEX, IMAGES).astype(float)
    second = render_plan(replace(plan, tiles=plan.partner, partner=()), INDEX, IMAGES).astype(float)
    mixed = plan.partner_ratio * first + (1 - plan.partner_ratio) * second
    assert np.abs(render_plan(plan, INDEX, IMAGES) - mixed).max() <= 0.51


@pytest.mark.parametrize("grey_rows", [(0, 0), (3, 140), (200, 0), (1, 1), (100, 101)])
@pytest.mark.parametrize("gains", [(1.1, 0.6, 1.5), (1.0031, 1.2117, 0.9133), (0.99, 0.0, 2.0), (1.9, 1.0, 0.9)])
def test_colours_change_as_the_definition_of_the_tables_says(
    gains: tuple[float, float, float], grey_rows: tuple[int, int]
) -> None:
    image = smooth_image(201, 50, 3)  # strips of several heights, whose pixels are no multiple of those done at a time
    image[: grey_rows[0]] = image[len(image) - grey_rows[1] :] = 114
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(float)
    hsv[..., 0] = (hsv[..., 0] * gains[0]) % 180
    hsv[..., 1:] = (hsv[..., 1:] * gains[1:]).clip(0, 255)
    expected = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    changed = image.copy()
    change_colours(changed, gains)
    np.testing.assert_array_equal(changed, expected)
    assert (changed != image).any()


def test_rows_that_only_seem_to_be_grey_change_too() -> None:
    image = np.full((20, 16, 3), 114, np.uint8)
    image[3, 2] = image[15, 4] = 10
    whole = np.concatenate([smooth_image(1, 16, 0), image, smooth_image(1, 16, 1)])  # no row is left out of these
    changed, expected = image.copy(), whole.copy()
    change_colours(changed, (1.01, 1.3, 0.7))
    change_colours(expected, (1.01, 1.3, 0.7))
    np.testing.assert_array_equal(changed, expected[1:-1])


def test_letterboxed_images_have_grey_borders_and_whole_content() -> None:
    image = smooth_image(20, 64, 0)
    framed = put_into_frame(image, letterbox((20, 64), (64, 64)))
    np.testing.assert_array_equal(framed[22:42], image)
    assert (framed[:22] == 114).all() and (framed[42:] == 114).all()


@pytest.mark.parametrize(
    ("size_hw", "scale"), [((427, 641), 1), ((1281, 963), 1), ((427, 641), 2), ((401, 1283), 4), ((401, 2561), 8)]
)
def test_shrinking_keeps_every_point_in_its_place(size_hw: tuple[int, int], scale: int) -> None:
    rows, columns = (-(-side // scale) for side in size_hw)
    decoded = steep((np.arange(columns) + 0.5) * scale / size_hw[1])
    result = shrunk(np.repeat(decoded[None], rows, axis=0), size_hw, 320)
    assert result.shape[:2] == fitted_size(size_hw, 320)
    expected = steep((np.arange(result.shape[1]) + 0.5) / result.shape[1])
    difference = np.abs(result[result.shape[0] // 2].astype(float) - expected)[2:-2]
    assert difference.max() <= 2  # a shift by a hundredth of the slope is 2.5 levels


def steep(position: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Grey levels (N, 3) that rise from 0 to 250 over the last tenth of the way."""
    level = np.interp(position, [0.89, 0.99], [0, 250])
    return np.repeat(level[:, None], 3, axis=1).astype(np.uint8)
