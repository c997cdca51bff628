"""Mosaics of nine images against the slow way: draw the whole canvas, cut the window out of it, warp that."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest
from synthetic_index import ArrayImages, Image, make_index, smooth_image

from onelook.data.augment.augmentations import draw_plan
from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.augment.labels import labels_of_plan
from onelook.data.augment.mosaic import draw_corner, draw_mosaic_images, place_nine
from onelook.data.augment.perspective import draw_perspective
from onelook.data.augment.plan import AugmentPlan
from onelook.data.augment.render_cpu import render_plan
from onelook.geometry.affine import translation
from onelook.settings.hyperparameters import Hyperparameters

SIDE = 96
SIZES = [(96, 72), (72, 96), (96, 96), (96, 40), (30, 96), (96, 88), (50, 96), (96, 96), (64, 96), (96, 50)]
LABELS = [[(n, 0.5, 0.5, 0.6, 0.5)] for n in range(len(SIZES))]
INDEX = make_index(SIZES, LABELS)
IMAGES = ArrayImages([smooth_image(h, w, n) for n, (h, w) in enumerate(SIZES)])
NINE = Hyperparameters(hsv_h=0, hsv_s=0, hsv_v=0, fliplr=0, scale=0.3, mosaic9=1)


def plan_of(hyperparameters: Hyperparameters, epoch: int, image: int = 0) -> AugmentPlan:
    return draw_plan(INDEX, hyperparameters, key=SampleKey(2, epoch, image), output_hw=(SIDE, SIDE))


def corners_by_the_book(s: int, sizes: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of each tile, written tile by tile with the size of the one before."""
    (h0, w0) = sizes[0]
    corners = []
    hp = wp = 0
    for number, (h, w) in enumerate(sizes):
        corners.append(
            [
                (s, s, s + w, s + h),
                (s, s - h, s + w, s),
                (s + wp, s - h, s + wp + w, s),
                (s + w0, s, s + w0 + w, s + h),
                (s + w0, s + hp, s + w0 + w, s + hp + h),
                (s + w0 - w, s + h0, s + w0, s + h0 + h),
                (s + w0 - wp - w, s + h0, s + w0 - wp, s + h0 + h),
                (s - w, s + h0 - h, s, s + h0),
                (s - w, s + h0 - hp - h, s, s + h0 - hp),
            ][number]
        )
        hp, wp = h, w
    return corners


def the_slow_way(epoch: int, image: int, hyperparameters: Hyperparameters) -> tuple[Image, np.ndarray]:
    """The image, and where it is near a seam: there two filters differ."""
    key = SampleKey(2, epoch, image)
    rng = generator(key, Purpose.MOSAIC9)
    rng.random()
    numbers = draw_mosaic_images(rng, image, len(SIZES), count=9)
    left, top = draw_corner(rng, SIDE)
    canvas = np.full((3 * SIDE, 3 * SIDE, 3), 114, np.uint8)
    seams = np.zeros((3 * SIDE, 3 * SIDE), np.uint8)
    for number, (x1, y1, x2, y2) in zip(numbers, corners_by_the_book(SIDE, [SIZES[n] for n in numbers]), strict=True):
        skip_x, skip_y = max(0, -x1), max(0, -y1)
        place = slice(max(y1, 0), y2), slice(max(x1, 0), x2)
        canvas[place] = IMAGES.image(number)[skip_y:, skip_x:][: canvas[place].shape[0], : canvas[place].shape[1]]
        cv2.rectangle(seams, (x1, y1), (x2, y2), 255, 4)
    window = slice(top, top + 2 * SIDE), slice(left, left + 2 * SIDE)
    matrix, _ = draw_perspective(
        generator(key, Purpose.GEOMETRY), hyperparameters, canvas_hw=(2 * SIDE, 2 * SIDE), output_hw=(SIDE, SIDE)
    )
    anchor = matrix @ (SIDE - left, SIDE - top, 1)
    anchor = anchor[:2] / anchor[2]
    shift = np.round(anchor) - anchor
    to_pixels = translation(-0.5, -0.5) @ translation(*shift) @ matrix @ translation(0.5, 0.5)
    warped = cv2.warpPerspective(canvas[window], to_pixels, (SIDE, SIDE), borderValue=(114, 114, 114))
    return warped, cv2.warpPerspective(seams[window], to_pixels, (SIDE, SIDE), borderValue=255) > 0


@pytest.mark.parametrize(
    "geometry",
    [{"translate": 0.1}, {"degrees": 20, "shear": 5}, {"perspective": 0.001}],
    ids=["moved", "turned", "bent"],
)
def test_nine_tiles_give_what_a_large_canvas_gives(geometry: dict[str, float]) -> None:
    hyperparameters = NINE.model_copy(update=geometry)
    compared = 0
    for epoch in range(8):
        plan = plan_of(hyperparameters, epoch, epoch)
        assert len(plan.tiles) == 9
        slow, seams = the_slow_way(epoch, epoch, hyperparameters)
        difference = np.abs(render_plan(plan, INDEX, IMAGES).astype(int) - slow).max(axis=-1)[~seams]
        compared += len(difference)
        assert difference.mean() < 1.5 and (difference > 8).mean() < 0.01
    assert compared > 8 * SIDE * SIDE * 0.3


def test_nine_images_never_cover_one_another() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        sizes = [(SIDE, int(rng.integers(1, SIDE + 1)))[:: rng.choice([1, -1])] for _ in range(9)]
        boxes = corners_by_the_book(SIDE, sizes)
        assert [box[:2] for box in boxes] == place_nine(SIDE, sizes)
        for (l1, t1, r1, b1), (l2, t2, r2, b2) in combinations(boxes, 2):
            assert min(r1, r2) <= max(l1, l2) or min(b1, b2) <= max(t1, t2)


def test_boxes_of_nine_tiles_follow_their_images() -> None:
    still = NINE.model_copy(update={"scale": 0.0, "translate": 0.0})
    kept = set()
    for epoch in range(20):
        plan = plan_of(still, epoch)
        boxes, class_ids = labels_of_plan(INDEX, plan)
        assert (boxes >= 0).all() and (boxes <= SIDE).all()
        for box, class_id in zip(boxes, class_ids.tolist(), strict=True):
            (tile,) = [tile for tile in plan.tiles if tile.source == class_id]
            centre = tile.matrix @ (0.5, 0.5, 1)
            assert (box[:2] - 0.5 <= centre[:2]).all() or box[0] == 0 or box[1] == 0
        kept.update(class_ids.tolist())
    assert kept == set(range(len(SIZES)))


def test_nine_are_as_frequent_as_asked_and_move_nothing_else() -> None:
    plans = [plan_of(NINE.model_copy(update={"mosaic9": 0.3}), epoch) for epoch in range(600)]
    sizes = [len(plan.tiles) for plan in plans]
    assert set(sizes) == {4, 9} and np.mean(np.array(sizes) == 9) == pytest.approx(0.3, abs=0.06)
    without = [plan_of(NINE.model_copy(update={"mosaic9": 0.0}), epoch) for epoch in range(600)]
    for plan, plain in zip(plans, without, strict=True):
        assert plan.steps == plain.steps
        assert len(plan.tiles) == 9 or repr(plan.tiles) == repr(plain.tiles)


def test_both_mosaics_of_a_mix_may_have_nine() -> None:
    plan = plan_of(NINE.model_copy(update={"mixup": 1.0}), 0)
    assert len(plan.tiles) == len(plan.partner) == 9
    assert [tile.source for tile in plan.tiles] != [tile.source for tile in plan.partner]


@pytest.mark.parametrize(("num_images", "distinct"), [(1, 1), (5, 5), (9, 9), (40, 9)])
def test_nine_images_are_all_different_if_there_are_enough(num_images: int, distinct: int) -> None:
    for seed in range(20):
        drawn = draw_mosaic_images(np.random.default_rng(seed), 0, num_images, count=9)
        assert len(drawn) == 9 and 0 in drawn and len(set(drawn)) >= distinct
