"""What is drawn, before any pixel: keys, mosaics, perspective."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from synthetic_index import make_index

from onelook.data.augment.augmentations import draw_plan
from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.augment.mosaic import draw_centre, draw_mosaic_images
from onelook.data.augment.perspective import MIN_DENOMINATOR, draw_perspective
from onelook.data.augment.plan import AugmentPlan
from onelook.geometry.affine import is_axis_aligned, transform_points
from onelook.settings.hyperparameters import Hyperparameters

INDEX = make_index([(48, 64), (64, 48), (64, 64), (30, 64), (64, 20), (40, 40)])
NONE = Hyperparameters(hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, fliplr=0, mosaic=0)


def plan_of(hyperparameters: Hyperparameters, epoch: int = 0, image: int = 0, seed: int = 0) -> AugmentPlan:
    return draw_plan(INDEX, hyperparameters, key=SampleKey(seed, epoch, image), output_hw=(64, 64))


def fingerprint(plan: AugmentPlan) -> str:
    return repr(astuple(plan))


def test_random_numbers_differ_for_every_part_of_the_key_and_only_for_that() -> None:
    keys = [SampleKey(s, e, i) for s in (0, 1, 2**63 - 1) for e in (0, 1, 2**24 - 1) for i in (0, 1, 2**32 - 1)]
    drawn = [generator(key, purpose, layer=n).random() for key in keys for purpose in Purpose for n in (0, 1)]
    assert len(set(drawn)) == len(drawn) == 27 * len(Purpose) * 2
    assert drawn[0] == generator(keys[0], Purpose.ORDER).random()


@pytest.mark.parametrize("key", [SampleKey(0, 2**24, 0), SampleKey(0, 0, 2**32), SampleKey(0, -1, 0)])
def test_keys_that_could_collide_are_refused(key: SampleKey) -> None:
    with pytest.raises(ValueError, match="too large"):
        generator(key, Purpose.ORDER)


def test_random_numbers_are_those_of_philox_with_the_key_in_two_words() -> None:
    word = 3 << 40 | 9 << 8 | 1 << 4 | Purpose.FLIP
    expected = np.random.Generator(np.random.Philox(key=np.array([7, word], np.uint64)))
    drawn = generator(SampleKey(7, 3, 9), Purpose.FLIP, layer=1)
    assert drawn.random(5).tolist() == expected.random(5).tolist()
    assert drawn.integers(1000, size=5).tolist() == expected.integers(1000, size=5).tolist()


def test_plans_are_equal_for_equal_keys_and_differ_for_others() -> None:
    h = Hyperparameters(mixup=0.5, degrees=10)
    assert fingerprint(plan_of(h)) == fingerprint(plan_of(h))
    assert len({fingerprint(plan_of(h, *key)) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}) == 4


def test_one_option_does_not_move_the_random_numbers_of_another() -> None:
    plain, mixed = plan_of(Hyperparameters()), plan_of(Hyperparameters(mixup=1, hsv_h=0.5))
    assert repr(plain.tiles) == repr(mixed.tiles)
    assert len(mixed.partner) == 4 and not plain.partner


def test_both_mosaics_of_a_mix_have_a_geometry_of_their_own() -> None:
    index = make_index([(64, 64)] * 4)
    plan = draw_plan(index, Hyperparameters(mixup=1), key=SampleKey(0, 0, 0), output_hw=(64, 64))
    assert plan.tiles[0].extent_wh != plan.partner[0].extent_wh
    assert np.sign(plan.tiles[0].matrix[0, 0]) == np.sign(plan.partner[0].matrix[0, 0])  # but flipped alike


@pytest.mark.parametrize(("num_images", "distinct"), [(1, 1), (2, 2), (3, 3), (4, 4), (200, 4)])
def test_mosaics_hold_the_current_image_and_others_all_different_if_possible(num_images: int, distinct: int) -> None:
    for current in range(min(num_images, 6)):
        for seed in range(30):
            drawn = draw_mosaic_images(np.random.default_rng(seed), current, num_images, count=4)
            assert len(drawn) == 4 and current in drawn
            assert len(set(drawn)) >= min(distinct, 4) and set(drawn) <= set(range(num_images))


def test_partners_and_places_are_uniform() -> None:
    drawn = np.array([draw_mosaic_images(np.random.default_rng(seed), 2, 5, count=4) for seed in range(4000)])
    np.testing.assert_allclose((drawn == 2).mean(axis=0), 0.25, atol=0.03)
    for other in (0, 1, 3, 4):
        assert (drawn == other).sum() / 4000 == pytest.approx(0.75, abs=0.03)


def test_centres_cover_the_middle_half_of_the_canvas() -> None:
    drawn = np.array([draw_centre(np.random.default_rng(seed), 64) for seed in range(3000)])
    assert drawn.min() == 32 and drawn.max() == 96


def test_mosaic_happens_as_often_as_its_probability_says() -> None:
    sizes = [len(plan_of(Hyperparameters(mosaic=0.3), epoch=epoch).tiles) for epoch in range(1000)]
    assert set(sizes) == {1, 4}
    assert np.mean(np.array(sizes) == 4) == pytest.approx(0.3, abs=0.05)


def test_mosaic_can_be_forbidden() -> None:
    key = SampleKey(0, 0, 0)
    plan = draw_plan(INDEX, Hyperparameters(mixup=1), key=key, output_hw=(32, 64), mosaic_allowed=False)
    assert len(plan.tiles) == 1 and not plan.partner


def test_without_any_augmentation_the_image_is_letterboxed() -> None:
    (tile,) = plan_of(NONE, image=3).tiles  # 30 x 64 in 64 x 64
    corners = transform_points(tile.matrix, np.array([[0.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(corners, [[0, 17], [64, 47]], atol=1e-9)
    assert plan_of(NONE).steps == ()


def test_tiles_of_a_mosaic_meet_in_one_point_on_a_whole_pixel() -> None:
    for epoch in range(20):
        tiles = plan_of(Hyperparameters(degrees=20, shear=5), epoch=epoch).tiles
        corners = [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)]
        meeting = [transform_points(t.matrix, np.array(c)) for t, c in zip(tiles, corners, strict=True)]
        np.testing.assert_allclose(meeting, np.tile(np.round(meeting[0]), (4, 1)), atol=1e-9)


def test_windows_cut_off_what_the_canvas_cannot_hold() -> None:
    still_mosaic = NONE.model_copy(update={"mosaic": 1.0})
    for tile in [tile for epoch in range(30) for tile in plan_of(still_mosaic, epoch=epoch).tiles]:
        points = transform_points(tile.matrix, np.array([tile.window[:2], tile.window[2:]])) + 32  # canvas pixels
        assert points.min() >= -1e-9 and points.max() <= 128 + 1e-9
        assert 0 <= tile.window[0] <= tile.window[2] <= 1 and 0 <= tile.window[1] <= tile.window[3] <= 1


def test_gains_stay_within_their_ranges_and_use_them() -> None:
    h = Hyperparameters(degrees=10, scale=0.5, translate=0.1)
    drawn = [
        draw_perspective(np.random.default_rng(s), h, canvas_hw=(200, 100), output_hw=(80, 60)) for s in range(500)
    ]
    gains = np.array([gain for _, gain in drawn])
    assert 0.5 <= gains.min() < 0.52 and 1.48 < gains.max() <= 1.5
    centres = np.array([transform_points(matrix, np.array([50.0, 100.0])) for matrix, _ in drawn])
    np.testing.assert_allclose(centres.min(axis=0), [0.4 * 60, 0.4 * 80], atol=0.5)
    np.testing.assert_allclose(centres.max(axis=0), [0.6 * 60, 0.6 * 80], atol=0.5)
    angles = np.degrees(np.arctan2(-np.array([m[1, 0] for m, _ in drawn]), np.array([m[0, 0] for m, _ in drawn])))
    assert -10 <= angles.min() < -9.5 and 9.5 < angles.max() <= 10


def test_horizon_of_a_strong_perspective_stays_out_of_the_canvas() -> None:
    h = Hyperparameters(perspective=0.001)
    corners = np.array([[0.0, 0, 1], [4000, 0, 1], [0, 4000, 1], [4000, 4000, 1]])
    for seed in range(50):
        matrix, _ = draw_perspective(np.random.default_rng(seed), h, canvas_hw=(4000, 4000), output_hw=(2000, 2000))
        assert not is_axis_aligned(matrix)
        assert (corners @ matrix[2]).min() >= MIN_DENOMINATOR - 1e-9


def test_flips_happen_as_often_as_their_probabilities_say() -> None:
    h = NONE.model_copy(update={"fliplr": 0.25, "flipud": 0.6})
    signs = np.array([np.sign(np.diag(plan_of(h, epoch=e).tiles[0].matrix)[:2]) for e in range(1000)])
    assert (signs[:, 0] < 0).mean() == pytest.approx(0.25, abs=0.05)
    assert (signs[:, 1] < 0).mean() == pytest.approx(0.6, abs=0.05)
