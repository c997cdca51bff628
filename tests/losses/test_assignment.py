"""Assignment against a slow loop over targets, and its edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from plain_loss import LayerMatches, assign

from onelook.structures.anchors import AnchorGrid
from onelook.structures.batch import Targets

GRID = AnchorGrid(
    torch.tensor([[[10.0, 13.0], [33.0, 23.0]], [[60.0, 45.0], [59.0, 119.0]]]), torch.tensor([8.0, 16.0])
)
SIZES = [(12, 20), (6, 10)]

Position = tuple[int, int, int, int, int]


def targets_of(boxes: list[list[float]]) -> Targets:
    count = len(boxes)
    return Targets(torch.arange(count) % 3, torch.arange(count), torch.tensor(boxes, dtype=torch.float32).view(-1, 4))


def positions(matches: LayerMatches) -> list[Position]:
    fields = (matches.class_ids, matches.image_index, matches.anchor_index, matches.rows, matches.columns)
    return [tuple(row) for row in torch.stack(fields, dim=1).tolist()]  # type: ignore[misc]


def slow_assign(boxes: list[list[float]], layer: int, anchor_t: float) -> set[Position]:
    """The rule, one target at a time, for centres off the lines."""
    height, width = SIZES[layer]
    found = set()
    for number, (x, y, w, h) in enumerate(boxes):
        gx, gy, gw, gh = x * width, y * height, w * width, h * height
        column, row = int(gx), int(gy)
        cells = [(row, column)]
        if gx - column < 0.5 and column > 0:
            cells.append((row, column - 1))
        if gx - column > 0.5 and column < width - 1:
            cells.append((row, column + 1))
        if gy - row < 0.5 and row > 0:
            cells.append((row - 1, column))
        if gy - row > 0.5 and row < height - 1:
            cells.append((row + 1, column))
        for index, (aw, ah) in enumerate((GRID.anchors[layer] / GRID.strides[layer]).tolist()):
            if max(gw / aw, aw / gw, gh / ah, ah / gh) < anchor_t:
                found |= {(number, number % 3, index, r, c) for r, c in cells}
    return found


@pytest.mark.parametrize("anchor_t", [1.5, 4.0])
def test_matches_equal_a_loop_over_the_targets(anchor_t: float) -> None:
    rng = np.random.Generator(np.random.Philox(key=3))
    boxes = np.column_stack([rng.uniform(0.001, 0.999, (300, 2)), rng.uniform(0.01, 0.9, (300, 2))]).tolist()
    found = assign(targets_of(boxes), GRID, SIZES, anchor_t=anchor_t)
    for layer, matches in enumerate(found):
        expected = slow_assign(boxes, layer, anchor_t)
        assert len(expected) > 30
        assert set(positions(matches)) == expected
        assert len(matches) == len(expected)


def test_boxes_and_anchors_are_in_cells_of_their_map() -> None:
    matches = assign(targets_of([[0.53, 0.52, 0.4, 0.4]]), GRID, SIZES, anchor_t=4.0)[1]
    own = matches.boxes[0].tolist()
    assert own == pytest.approx([0.3, 0.12, 4.0, 2.4], abs=1e-5)
    centres = matches.boxes[:, :2] + torch.stack([matches.columns, matches.rows], dim=1)
    torch.testing.assert_close(centres, torch.tensor([[5.3, 3.12]]).expand_as(centres))
    assert matches.anchors.tolist() == (GRID.anchors[1] / 16)[matches.anchor_index].tolist()


@pytest.mark.parametrize(
    "box",
    [
        [0.0, 0.0, 0.1, 0.2],
        [1.0, 1.0, 0.1, 0.2],
        [0.5, 0.5, 0.1, 0.2],
        [1.0, 0.0, 0.1, 0.2],
        [-3.0, 7.0, 0.1, 0.2],
        [1e30, -1e30, 0.1, 0.2],
        [0.05, 0.95, 0.1, 0.2],
    ],
)
def test_positions_stay_inside_the_map_and_never_repeat(box: list[float]) -> None:
    for (height, width), matches in zip(SIZES, assign(targets_of([box]), GRID, SIZES, anchor_t=4.0), strict=True):
        assert len(matches) > 0
        assert ((matches.rows >= 0) & (matches.rows < height)).all()
        assert ((matches.columns >= 0) & (matches.columns < width)).all()
        assert len(set(positions(matches))) == len(matches)
        assert matches.boxes.isfinite().all()


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-9, 1e9])
def test_shapes_far_from_every_anchor_have_no_match(size: float) -> None:
    found = assign(targets_of([[0.5, 0.5, size, 0.2], [0.5, 0.5, 0.2, size]]), GRID, SIZES, anchor_t=4.0)
    assert [len(matches) for matches in found] == [0, 0]


def test_ratio_equal_to_the_threshold_does_not_match() -> None:
    grid = AnchorGrid(torch.tensor([[[8.0, 8.0]]]), torch.tensor([8.0]))
    boxes = [[0.55, 0.55, 0.4, 0.1], [0.55, 0.55, math.nextafter(0.399, 0), 0.1]]
    (matches,) = assign(targets_of(boxes), grid, [(10, 10)], anchor_t=4.0)
    assert set(matches.class_ids.tolist()) == {1}


def test_no_targets_give_no_matches() -> None:
    found = assign(targets_of([]), GRID, SIZES, anchor_t=4.0)
    assert [(len(matches), matches.boxes.shape) for matches in found] == [(0, (0, 4)), (0, (0, 4))]
