"""Task-aligned assignment against numbers worked out independently (16 points, up to 3 targets)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from plain_points import owned, pairs_of
from torch import Tensor

from onelook.geometry.iou import box_iou
from onelook.losses.points.pairs import Pairs, Positives, pairs_inside
from onelook.losses.points.task_aligned import choose_aligned, surrogate_regions

BOXES = torch.tensor([[2, 2, 22, 22], [10, 10, 30, 30], [13, 1, 17, 5]], dtype=torch.float64)
CLASSES = torch.tensor([0, 1, 0])
J = torch.arange(16, dtype=torch.float64)
X, Y = 4 + 8 * (J % 4), 4 + 8 * (J // 4)
SCORES = torch.stack([0.10 + 0.05 * ((3 * J) % 7), 0.08 + 0.06 * ((5 * J) % 6)], dim=1)
PREDICTED = torch.stack([X - 8 - (J % 3), Y - 8, X + 8, Y + 8 + 3 * (J % 2)], dim=1)
SMALL = torch.stack([X - 0.5, Y - 0.5, X + 0.5, Y + 0.5], dim=1)


def pairs_for(boxes: Tensor, regions: object = None) -> Pairs:
    given = surrogate_regions(boxes.numpy(), [8.0]) if regions is None else regions
    point, counts = pairs_inside(given, np.zeros(len(boxes), np.int64), [(4, 4)], [8.0])  # type: ignore[arg-type]
    return pairs_of([part.tolist() for part in np.split(point, np.cumsum(counts)[:-1])] if len(boxes) else [], 16, 4)


def chosen(
    boxes: Tensor = BOXES, scores: Tensor = SCORES, predicted: Tensor = PREDICTED, **options: object
) -> tuple[Positives, dict[int, float]]:
    pairs = pairs_for(boxes)
    rows = pairs.target.clamp(max=max(len(boxes) - 1, 0))
    ious = box_iou(boxes, predicted)[rows, pairs.point] if len(boxes) else torch.zeros(len(rows))
    given = scores[pairs.point, CLASSES[rows]]
    positives, quality = choose_aligned(pairs, given, ious, **options)  # type: ignore[arg-type]
    assert not quality[~positives.is_real].any()
    real = zip(positives.point[positives.is_real].tolist(), quality[positives.is_real].tolist(), strict=True)
    return positives, dict(sorted(real))


def owners(positives: Positives) -> list[int | None]:
    return [owned(positives).get(point) for point in range(16)]


_ = None
RESCUED = [0, 0, 2, _, 0, 0, 0, 1, 0, 1, 1, 1, _, 1, 1, 1]


def test_a_target_smaller_than_a_cell_has_the_candidates_of_its_surrogate() -> None:
    pairs = pairs_for(BOXES)
    assert pairs.counts.tolist() == [9, 9, 2]
    assert pairs.point[18:20].tolist() == [1, 2]
    assert pairs_for(BOXES, BOXES.numpy()[None]).counts.tolist() == [9, 9, 0]


@pytest.mark.parametrize(
    ("options", "expected", "total"),
    [
        ({}, RESCUED, 1.63298439),
        ({"one_to_one": True}, [_, _, 2, _, _, 0] + [_] * 4 + [1] + [_] * 5, 1.51067517),
    ],
)
def test_owners_are_those_of_the_worked_example(
    options: dict[str, object], expected: list[int | None], total: float
) -> None:
    positives, quality = chosen(**options)  # type: ignore[arg-type]
    assert owners(positives) == expected
    assert sum(quality.values()) == pytest.approx(total, abs=1e-8)


def test_qualities_are_those_of_the_worked_example() -> None:
    expected = {
        0: 8.065e-05,
        1: 0.04336471,
        2: 0.05555556,
        4: 0.00776664,
        5: 0.77511962,
        6: 0.00805408,
        7: 0.00293533,
        8: 0.00014413,
        9: 0.01469082,
        10: 0.68,
        11: 0.02308668,
        13: 0.0002235,
        14: 0.02177851,
        15: 0.00018415,
    }
    assert chosen()[1] == pytest.approx(expected, abs=1e-8)


def test_equal_alignment_is_settled_by_order_and_zero_alignment_is_still_chosen() -> None:
    flat = torch.full((16, 2), 0.01, dtype=torch.float64)
    expected = [0, 0, 0, _, 0, 0, 0, 1, 0, 0, 0, 1, _, 1, 1, 1]
    positives, quality = chosen(BOXES[:2], flat, SMALL)
    assert owners(positives) == expected
    assert list(quality.values()) == pytest.approx([0.0025] * 14, abs=1e-12)
    nowhere = torch.tensor([[0, 0, 0.001, 0.001]], dtype=torch.float64).expand(16, 4)
    positives, quality = chosen(BOXES[:2], flat, nowhere)
    assert owners(positives) == expected
    assert set(quality.values()) == {0.0}


def test_a_tiny_overlap_keeps_its_quality_in_float32() -> None:
    pairs = pairs_for(BOXES[:1])
    few = torch.full((len(pairs.point),), 0.01)
    positives, quality = choose_aligned(pairs, few, few)
    assert quality[positives.is_real].tolist() == pytest.approx([0.01] * 9)


def test_no_targets_give_no_positives() -> None:
    assert not chosen(BOXES[:0])[1]
