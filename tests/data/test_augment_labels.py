"""Boxes of training images."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_index import make_index

from onelook.data.augment.augmentations import draw_plan
from onelook.data.augment.copy_paste import Paste
from onelook.data.augment.keys import SampleKey
from onelook.data.augment.labels import is_worth_keeping, labels_of_plan
from onelook.data.augment.plan import AugmentPlan, Tile
from onelook.geometry.affine import Matrix, rotation, scaling, translation
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex

CENTRED = (1, 0.5, 0.5, 0.2, 0.4)


def plan_with(matrix: Matrix, window: tuple[float, float, float, float] = (0, 0, 1, 1), pasted: tuple[int, ...] = ()):  # type: ignore[no-untyped-def]
    tile = Tile(0, matrix, window, (100.0, 100.0), (Paste(pasted),) if pasted else ())
    return AugmentPlan(0, (100, 100), (tile,))


def boxes_of(index: DatasetIndex, plan: AugmentPlan) -> list[list[float]]:
    boxes, class_ids = labels_of_plan(index, plan)
    assert len(boxes) == len(class_ids)
    return boxes.round(4).tolist()


def test_boxes_move_with_the_image() -> None:
    index = make_index([(100, 100)], [[CENTRED]])
    assert boxes_of(index, plan_with(scaling(100, 100))) == [[40, 30, 60, 70]]
    assert boxes_of(index, plan_with(translation(50, 0) @ scaling(100, 100))) == [[90, 30, 100, 70]]


def test_boxes_are_cut_to_the_window_before_they_move() -> None:
    index = make_index([(100, 100)], [[CENTRED]])
    assert boxes_of(index, plan_with(scaling(100, 100), window=(0.5, 0, 1, 0.6))) == [[50, 30, 60, 60]]


def test_polygond_objects_get_tighter_boxes_than_moved_corners() -> None:
    turn = translation(50, 50) @ rotation(45) @ translation(-50, -50) @ scaling(100, 100)
    diamond = [[0.5, 0.3], [0.6, 0.5], [0.5, 0.7], [0.4, 0.5]]
    plain = make_index([(100, 100)], [[CENTRED]])
    with_polygon = make_index([(100, 100)], [[CENTRED]], polygons={0: diamond})
    (loose,), (tight,) = boxes_of(plain, plan_with(turn)), boxes_of(with_polygon, plan_with(turn))
    half = 20 / np.sqrt(2)
    np.testing.assert_allclose(tight, [50 - half, 50 - half, 50 + half, 50 + half], atol=1e-3)
    assert loose[0] < tight[0] and loose[3] > tight[3]


def test_boxes_and_polygons_can_be_mixed_in_one_image() -> None:
    square = [[0.1, 0.1], [0.3, 0.1], [0.3, 0.3], [0.1, 0.3]]
    index = make_index([(100, 100)], [[CENTRED, (2, 0.2, 0.2, 0.4, 0.4)]], polygons={1: square})
    assert boxes_of(index, plan_with(scaling(100, 100))) == [[40, 30, 60, 70], [10, 10, 30, 30]]


def test_pasted_copies_have_mirrored_boxes_and_polygons() -> None:
    triangle = [[0.1, 0.1], [0.3, 0.1], [0.1, 0.5]]
    index = make_index([(100, 100)], [[CENTRED, (2, 0.2, 0.3, 0.2, 0.4)]], polygons={1: triangle})
    plan = plan_with(scaling(100, 100), window=(0, 0, 1, 1), pasted=(1,))
    assert boxes_of(index, plan)[2] == [70, 10, 90, 50]
    assert labels_of_plan(index, plan)[1].tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("before", "after", "threshold", "kept"),
    [
        ((10, 10), (10, 10), 0.1, True),
        ((10, 10), (2, 10), 0.1, False),  # not more than 2 pixels wide
        ((10, 10), (10, 2), 0.1, False),
        ((100, 100), (20, 50), 0.1, False),  # a tenth, not more
        ((100, 100), (20, 51), 0.1, True),
        ((100, 100), (20, 50), 0.01, True),
        ((400, 4), (399, 3.9), 0.1, False),  # 102 times as long as wide
        ((400, 4), (399, 4), 0.1, True),
        ((0, 0), (0, 0), 0.1, False),
    ],
)
def test_cut_boxes_are_kept_by_size_share_and_shape(
    before: tuple[float, float], after: tuple[float, float], threshold: float, kept: bool
) -> None:
    found = is_worth_keeping(np.array([before], float), np.array([after], float), np.array([threshold]))
    assert found.tolist() == [kept]


def test_polygond_objects_may_lose_more_of_their_area_than_plain_boxes() -> None:
    square = [[0.4, 0.3], [0.6, 0.3], [0.6, 0.7], [0.4, 0.7]]
    mostly_outside = translation(59, 0) @ scaling(100, 100)  # 1 of 20 columns is left ...
    wider = translation(57, 0) @ scaling(100, 100)  # ... or 3
    plain = make_index([(100, 100)], [[(1, 0.5, 0.5, 0.4, 0.4)]])
    with_polygon = make_index([(100, 100)], [[(1, 0.5, 0.5, 0.4, 0.4)]], polygons={0: square})
    assert boxes_of(with_polygon, plan_with(mostly_outside)) == []
    assert boxes_of(with_polygon, plan_with(wider)) == [[97, 30, 100, 70]]
    assert boxes_of(plain, plan_with(translation(67, 0) @ scaling(100, 100))) == []


@pytest.mark.parametrize(("x", "y"), [(-100, -100), (100, -100), (-100, 100), (-100, 0), (0, 100)])
def test_polygons_of_an_image_that_only_touches_the_output_give_no_boxes(x: float, y: float) -> None:
    whole = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    index = make_index([(100, 100)], [[(1, 0.5, 0.5, 1, 1)]], polygons={0: whole})
    assert boxes_of(index, plan_with(translation(x, y) @ scaling(100, 100))) == []


def test_both_mosaics_of_a_mix_keep_all_their_labels() -> None:
    index = make_index([(64, 64)] * 4, [[CENTRED]] * 4)
    h = Hyperparameters(mixup=1, scale=0, translate=0)
    counts = []
    for epoch in range(20):
        plan = draw_plan(index, h, key=SampleKey(0, epoch, 0), output_hw=(64, 64))
        alone = AugmentPlan(0, plan.output_hw, plan.tiles)
        partner = AugmentPlan(0, plan.output_hw, plan.partner)
        counts.append(len(boxes_of(index, plan)))
        assert counts[-1] == len(boxes_of(index, alone)) + len(boxes_of(index, partner))
    assert sum(counts) > 20


def test_images_without_labels_give_no_boxes() -> None:
    index = make_index([(64, 64)] * 4)
    boxes, class_ids = labels_of_plan(
        index, draw_plan(index, Hyperparameters(), key=SampleKey(0, 0, 0), output_hw=(64, 64))
    )
    assert boxes.shape == (0, 4) and class_ids.shape == (0,)
