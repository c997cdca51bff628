"""Which cells lie in a region, and how pairs are ranked, settled and rescued."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_points import owned, pairs_of, plain_choice

from onelook.losses.points.pairs import (
    Positives,
    Shortlist,
    pairs_inside,
    positives_of,
    rescue_orphans,
    settle_conflicts,
    shortlist,
)
from onelook.losses.points.simota import choose_cheapest
from onelook.losses.points.task_aligned import choose_aligned

SIZES, STRIDES = [(4, 6), (2, 3), (1, 2)], [8.0, 16.0, 32.0]
NUM_POINTS = 24 + 6 + 2


def slow_pairs(regions: Any, image_index: list[int]) -> list[tuple[int, int]]:
    found = []
    for target, image in enumerate(image_index):
        point = 0
        for level, ((height, width), stride) in enumerate(zip(SIZES, STRIDES, strict=True)):
            left, top, right, bottom = regions[level, target]
            for row in range(height):
                for column in range(width):
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    if left < x < right and top < y < bottom:
                        found.append((target, image * NUM_POINTS + point))
                    point += 1
    return found


corner = st.integers(-20, 80).map(lambda value: value / 1.0) | st.floats(-100, 150)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1), st.lists(corner, min_size=12, max_size=12)), max_size=4))
def test_pairs_are_the_cells_whose_middle_is_strictly_inside(targets: list[tuple[int, list[float]]]) -> None:
    image_index = [image for image, _ in targets]
    corners = np.array([values for _, values in targets], np.float64).reshape(-1, 3, 4).transpose(1, 0, 2)
    point, counts = pairs_inside(corners, np.array(image_index, np.int64), SIZES, STRIDES)
    target = np.repeat(np.arange(len(targets)), counts)
    assert list(zip(target.tolist(), point.tolist(), strict=True)) == slow_pairs(corners, image_index)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_region_without_limits_gives_cells_of_the_map_only(value: float) -> None:
    region = np.broadcast_to(np.array([-value, -value, value, value]), (3, 1, 4))
    point, _counts = pairs_inside(region, np.zeros(1, np.int64), SIZES, STRIDES)
    assert set(point.tolist()) <= set(range(NUM_POINTS))


def test_equal_keys_rank_in_the_order_of_the_pairs() -> None:
    pairs = pairs_of([[0, 1, 2, 3], [], [4, 5]], 10, filling=2)
    found = shortlist(pairs, torch.tensor([2.0, 1.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0]), ranks=3)
    assert found.is_real.tolist() == [[True] * 3, [False] * 3, [True, True, False]]
    assert found.pair[found.is_real].tolist() == [1, 3, 0, 4, 5]
    assert found.point[found.is_real].tolist() == [1, 3, 0, 4, 5]


def listed(*points: list[int]) -> Shortlist:
    """Places that each target ranks in the order given, in 10 of them."""
    pairs = pairs_of(points, 10)
    return shortlist(pairs, torch.zeros(len(pairs.point)), ranks=3)


def test_a_contested_point_goes_to_the_smallest_key_then_to_the_first_target() -> None:
    candidates = listed([0, 1], [0, 1], [0, 2])
    chosen = torch.tensor([[True, True, False], [True, True, False], [False, True, False]])
    key = torch.tensor([[1.0, 5.0, 0.0], [1.0, 3.0, 0.0], [0.0, 9.0, 0.0]])
    assert settle_conflicts(candidates, chosen, key).tolist() == [
        [True, False, False], [False, True, False], [False, True, False],
    ]  # fmt: skip


def rescued(candidates: Shortlist, chosen: list[list[int]], *, may_take: bool) -> dict[int, int]:
    found = rescue_orphans(candidates, torch.tensor(chosen, dtype=torch.bool), most=3, may_take=may_take)
    return owned(positives_of(candidates, found, 1 if not may_take else 3))


def test_orphans_take_what_nobody_needs_in_their_order() -> None:
    candidates = listed([0, 1], [1, 0], [1], [])
    chosen = [[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    # Target 1 prefers point 1 and may take it from target 0, which then has only point 0 and keeps it from target 2.
    assert rescued(candidates, chosen, may_take=True) == {0: 0, 1: 1}
    assert rescued(candidates, [[1, 0, 0], *chosen[1:]], may_take=False) == {0: 0, 1: 1}


def test_orphans_prefer_the_smallest_key_among_free_points() -> None:
    candidates = listed([0], [3, 4, 0], [3, 4])
    assert rescued(candidates, [[1, 0, 0], [0, 0, 0], [0, 0, 0]], may_take=True) == {0: 0, 3: 1, 4: 2}


def test_a_positive_behind_the_last_row_of_its_target_takes_the_first() -> None:
    candidates = listed([5, 6, 7], [8])
    found = positives_of(candidates, torch.tensor([[False, False, True], [True, False, False]]), rows=2)
    assert owned(found) == {7: 0, 8: 1} and found.point.shape == (2, 2)


def test_of_equal_points_the_first_is_the_best() -> None:
    point = torch.tensor([[6, 3, 1], [4, 5, 2]])
    positives = Positives(point, point, torch.tensor([[True, True, False], [True, True, True]]))
    best = positives.best(torch.tensor([[0.5, 0.5, 0.9], [0.2, 0.2, 0.1]]))
    assert owned(positives, best) == {3: 0, 4: 1}


def crowd(seed: int, num_targets: int, num_points: int) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Targets with up to 15 candidates near each other, and two keys of each pair, many of them equal."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    starts = rng.integers(0, num_points - 15, num_targets)
    points = [list(range(start, start + rng.integers(0, 16))) for start in starts]
    pairs = pairs_of(points, num_points, filling=3)
    keys = torch.from_numpy(rng.integers(0, 6, (2, len(pairs.point))) / 6)
    return pairs, keys[0], keys[1]


@pytest.mark.parametrize("num_targets", [1, 10, 60])
@pytest.mark.parametrize("seed", range(5))
def test_all_choose_at_once_as_they_would_one_after_the_other(num_targets: int, seed: int) -> None:
    """Up to one target for each three points, so that many lose all that they have chosen."""
    pairs, scores, ious = crowd(seed, num_targets, 200)
    wanted = torch.arange(num_targets) % 10 + 1
    found = choose_cheapest(pairs, scores, wanted)
    assert owned(found) == plain_choice(pairs, scores, scores, wanted.tolist())
    alignment = -(scores * ious**6)
    for one_to_one, each in ((False, 10), (True, 7)):
        aligned, _quality = choose_aligned(pairs, scores, ious, one_to_one=one_to_one)
        expected = plain_choice(pairs, alignment, -ious, [each] * num_targets, only_best=one_to_one)
        assert owned(aligned) == expected
