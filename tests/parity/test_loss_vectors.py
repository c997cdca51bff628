"""Matches, loss terms and IoU flavours equal the published conformance numbers."""

from __future__ import annotations

import pytest
import torch
from plain_loss import LayerMatches, assign

from onelook.geometry.iou import ciou, iou
from onelook.losses.detection_loss import DetectionLoss
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.anchors import AnchorGrid
from onelook.structures.batch import Targets

PIXELS = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]
GRID = AnchorGrid(torch.tensor(PIXELS, dtype=torch.float32).view(3, 3, 2), torch.tensor([8.0, 16.0, 32.0]))
SIZES = [(80, 80), (40, 40), (20, 20)]
BOXES = [[0.50, 0.50, 0.10, 0.20], [0.254, 0.506, 0.40, 0.30], [0.999, 0.001, 0.02, 0.03], [0.3001, 0.7003, 0.90, 0.95]]
TARGETS = Targets(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 16, 2, 79]), torch.tensor(BOXES))


def places(matches: LayerMatches) -> list[tuple[int, ...]]:
    fields = (matches.image_index, matches.anchor_index, matches.rows, matches.columns, matches.class_ids)
    return [tuple(row) for row in torch.stack(fields, dim=1).tolist()]


def maps(logit: float, num_classes: int = 80) -> list[torch.Tensor]:
    return [torch.full((2, 3, *size, 5 + num_classes), logit) for size in SIZES]


def loss(num_classes: int = 80, auto_balance: bool = False, **changes: float) -> DetectionLoss:
    settings = Hyperparameters(box=0.05, obj=1.0, cls=0.5, **changes)
    return DetectionLoss(
        GRID,
        num_classes=num_classes,
        imgsz=640,
        hyperparameters=settings,
        auto_balance=auto_balance,
        keep_duplicates=True,
    )


def test_finest_map_matches_the_corner_target_at_all_anchors() -> None:
    fine = assign(TARGETS, GRID, SIZES, anchor_t=4.0, keep_duplicates=True)[0]
    assert places(fine) == [(1, 0, 0, 79, 2), (1, 1, 0, 79, 2), (1, 2, 0, 79, 2)]
    torch.testing.assert_close(fine.boxes, torch.tensor([[0.92, 0.08, 1.6, 2.4]] * 3), atol=1e-5, rtol=0)


def test_middle_map_matches_in_the_published_order_with_the_repeats() -> None:
    middle = assign(TARGETS, GRID, SIZES, anchor_t=4.0, keep_duplicates=True)[1]
    assert places(middle) == [
        (0, 0, 20, 20, 0), (1, 0, 0, 39, 2), (0, 1, 20, 20, 0), (0, 2, 20, 20, 0),
        *[(0, anchor, 20, 19, 0) for anchor in range(3)],
        *[(0, anchor, 19, 20, 0) for anchor in range(3)],
        *[(0, anchor, 20, 20, 0) for anchor in range(3)],
        *[(0, anchor, 20, 20, 0) for anchor in range(3)],
    ]  # fmt: skip
    assert middle.boxes[4:7, 0].tolist() == [1.0, 1.0, 1.0]


def test_coarse_map_matches_own_left_and_upper_cells_and_the_repeats() -> None:
    coarse = assign(TARGETS, GRID, SIZES, anchor_t=4.0, keep_duplicates=True)[2]
    found = places(coarse)
    assert len(found) == 25
    own, left, upper, repeats = found[:7], found[7:14], found[14:21], found[21:]
    assert [(i, a, row, column - 1, c) for i, a, row, column, c in own] == left
    assert [(i, a, row - 1, column, c) for i, a, row, column, c in own] == upper
    assert [place[2:] for place in repeats] == [(10, 10, 0)] * 4
    assert repeats[:2] == repeats[2:]


def test_without_repeats_every_match_of_a_target_is_in_another_place() -> None:
    for clean, full in zip(
        assign(TARGETS, GRID, SIZES, anchor_t=4.0),
        assign(TARGETS, GRID, SIZES, anchor_t=4.0, keep_duplicates=True),
        strict=True,
    ):
        assert len(set(places(clean))) == len(clean)
        assert set(places(clean)) == set(places(full))


@pytest.mark.parametrize(
    ("logit", "changes", "expected"),
    [
        (0.0, {}, (9.762187, 0.098377, 3.742995, 1.039721)),
        (0.0, {"fl_gamma": 1.5}, (2.728182, 0.098377, 0.992314, 0.273400)),
        (-2.0, {}, (2.146926, 0.160155, 0.685416, 0.227892)),
        (-2.0, {"label_smoothing": 0.1}, (2.439426, 0.160155, 0.685416, 0.374142)),
        (-2.0, {"fl_gamma": 1.5}, (0.390713, 0.160155, 0.021157, 0.014045)),
        (-2.0, {"obj_pw": 2.0, "cls_pw": 0.5}, (2.107055, 0.160155, 0.685420, 0.207952)),
    ],
)
def test_loss_terms_equal_the_published_ones(logit: float, changes: dict[str, float], expected: tuple[float]) -> None:
    terms = loss(**changes)(maps(logit), TARGETS)
    assert [terms.total.item(), *terms.values.tolist()] == pytest.approx(list(expected), abs=1.5e-6)


def test_balance_after_one_automatic_step_equals_the_published_one() -> None:
    criterion = loss(auto_balance=True)
    criterion(maps(-2.0), TARGETS)
    assert criterion.balance.tolist() == pytest.approx([3.997638, 1.0, 0.400472], abs=1e-6)


def test_one_class_has_no_class_term() -> None:
    targets = Targets(TARGETS.image_index, torch.zeros_like(TARGETS.class_ids), TARGETS.boxes)
    terms = loss(num_classes=1)(maps(-2.0, num_classes=1), targets)
    assert terms.values[2] == 0.0
    assert terms.values[:2].tolist() == pytest.approx([0.160155, 0.685416], abs=1.5e-6)


@pytest.mark.parametrize(("flavour", "expected"), [(iou, 0.333333), (ciou, 0.275164)])
def test_iou_flavours_equal_the_published_ones(flavour: object, expected: float) -> None:
    found = flavour(torch.tensor([[10.0, 10.0, 4.0, 6.0]]), torch.tensor([[11.0, 12.0, 5.0, 5.0]]))  # type: ignore[operator]
    assert found.item() == pytest.approx(expected, abs=1e-6)
