"""Which cells lie in a region, and how pairs are ranked, settled and rescued."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onelook.losses.points.pairs import (
    Pairs,
    pairs_inside,
    positives_of,
    rank_within_target,
    rescue_orphans,
    settle_conflicts,
)

SIZES, STRIDES = [(4, 6), (2, 3), (1, 2)], [8.0, 16.0, 32.0]
NUM_POINTS = 24 + 6 + 2


def pairs_of(*places: list[int]) -> Pairs:
    """One list of places for each target."""
    target = torch.tensor([i for i, listed in enumerate(places) for _ in listed])
    return Pairs(target, torch.tensor([place for listed in places for place in listed]), len(places), 10)


def slow_pairs(regions: torch.Tensor, image_index: torch.Tensor) -> list[tuple[int, int]]:
    found = []
    for target, image in enumerate(image_index.tolist()):
        point = 0
        for level, ((height, width), stride) in enumerate(zip(SIZES, STRIDES, strict=True)):
            left, top, right, bottom = regions[level, target].tolist()
            for row in range(height):
                for column in range(width):
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    if left < x < right and top < y < bottom:
                        found.append((target, image * NUM_POINTS + point))
                    point += 1
    return found


corner = st.integers(-20, 80).map(lambda value: value / 1.0) | st.floats(-100, 150)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.lists(corner, min_size=12, max_size=12)), max_size=4))
def test_pairs_are_the_cells_whose_middle_is_strictly_inside(targets: list[tuple[int, list[float]]]) -> None:
    image_index = torch.tensor([image for image, _ in targets], dtype=torch.long)
    corners = torch.tensor([values for _, values in targets], dtype=torch.float64).view(-1, 3, 4).transpose(0, 1)
    pairs = pairs_inside(corners, image_index, SIZES, STRIDES, 2)
    assert list(zip(pairs.target.tolist(), pairs.place.tolist(), strict=True)) == slow_pairs(corners, image_index)
    assert (pairs.num_targets, pairs.num_places) == (len(targets), 2 * NUM_POINTS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_region_without_limits_gives_cells_of_the_map_only(value: float) -> None:
    region = torch.tensor([-value, -value, value, value], dtype=torch.float64).expand(3, 1, 4)
    pairs = pairs_inside(region, torch.zeros(1, dtype=torch.long), SIZES, STRIDES, 1)
    assert set(pairs.place.tolist()) <= set(range(NUM_POINTS))


def test_equal_keys_rank_in_the_order_of_the_pairs() -> None:
    pairs = pairs_of([0, 1, 2, 3], [], [4, 5])
    key = torch.tensor([2.0, 1.0, 2.0, 1.0, 0.0, 0.0])
    assert rank_within_target(pairs, key).tolist() == [2, 0, 3, 1, 0, 1]


def test_a_contested_place_goes_to_the_smallest_key_then_to_the_first_target() -> None:
    pairs = pairs_of([0, 1], [0, 1], [0, 2])
    chosen = torch.tensor([True, True, True, True, False, True])
    key = torch.tensor([1.0, 5.0, 1.0, 3.0, 0.0, 9.0])
    assert settle_conflicts(pairs, chosen, key).tolist() == [True, False, False, True, False, True]


def test_orphans_take_what_nobody_needs_in_their_order() -> None:
    pairs = pairs_of([0, 1], [0, 1], [1], [])
    chosen = torch.tensor([True, True, False, False, False])
    key = torch.tensor([0.0, 0.0, 2.0, 1.0, 0.0])
    # Target 1 prefers place 1 and may take it from target 0, which then has only place 0 and keeps it from target 2.
    assert rescue_orphans(pairs, chosen, key, may_take=True).tolist() == [True, False, False, True, False]
    assert rescue_orphans(pairs, chosen, key, may_take=False).tolist() == chosen.tolist()


def test_orphans_prefer_the_smallest_key_among_free_places() -> None:
    pairs = pairs_of([0], [0, 3, 4], [3, 4])
    chosen = torch.tensor([True, False, False, False, False, False])
    key = torch.tensor([0.0, 0.0, 2.0, 2.0, 1.0, 1.0])
    rescued = rescue_orphans(pairs, chosen, key, may_take=True)
    assert positives_of(pairs, rescued).target.tolist() == [0, 1, 2]
    assert positives_of(pairs, rescued).place.tolist() == [0, 3, 4]
