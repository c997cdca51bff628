"""IoU flavours against hand calculation and NumPy loops; finite for every finite input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.iou import box_iou, ciou, coco_iou, iou, paired_iou

FLAVOURS = [iou, ciou]
EXTREMES = [0.0, 1e-45, 1e-38, 1e-20, 1e-7, 1e-3, 0.5, 1.0, 640.0, 1e9, 1e20, 3e38, -1.0, -3e38]


def pair_iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def test_pairwise_iou_equals_a_loop_over_the_pairs() -> None:
    rng = np.random.Generator(np.random.Philox(key=1))
    a, b = (np.sort(rng.uniform(0, 50, (n, 2, 2)), axis=1).reshape(n, 4) for n in (7, 11))
    expected = [[pair_iou(list(x), list(y)) for y in b] for x in a]
    np.testing.assert_allclose(box_iou(torch.tensor(a), torch.tensor(b)).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(box_iou(a, b), expected, atol=1e-12)
    assert paired_iou(a, b[:7]).tolist() == box_iou(a, b[:7]).diagonal().tolist()
    a_xywh, b_xywh = (np.concatenate([boxes[:7, :2], boxes[:7, 2:] - boxes[:7, :2]], axis=1) for boxes in (a, b))
    np.testing.assert_allclose(coco_iou(a_xywh, b_xywh, np.zeros(7, bool)), np.diag(expected), atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_pairwise_iou_of_no_boxes_is_an_empty_table(n: int, m: int) -> None:
    assert box_iou(torch.zeros(n, 4), torch.zeros(m, 4)).shape == (n, m)


def test_boxes_without_area_overlap_by_nothing() -> None:
    points = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    assert box_iou(points, points).item() == 0.0
    assert box_iou(points, torch.tensor([[0.0, 0.0, 9.0, 9.0]])).item() == 0.0


def test_pairwise_iou_leaves_its_input_alone() -> None:
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]])
    box_iou(boxes, boxes)
    assert boxes.tolist() == [[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_box_overlaps_itself_fully(flavour: object) -> None:
    box = torch.tensor([[5.0, 6.0, 3.0, 2.0]])
    assert flavour(box, box).item() == pytest.approx(1.0, abs=1e-6)  # type: ignore[operator]


def diou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Zheng et al. 2020, section 3: the part of the complete IoU without the shape."""
    (low_a, high_a), (low_b, high_b) = (cxcywh_to_xyxy(boxes).split(2, dim=-1) for boxes in (a, b))
    diagonal_sq = (torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)).square().sum(dim=-1)
    return iou(a, b) - (b - a)[:, :2].square().sum(dim=-1) / diagonal_sq


def test_gradient_of_ciou_equals_finite_differences_with_the_shape_weight_held() -> None:
    a = torch.tensor([[10.0, 10.0, 4.0, 6.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[11.0, 12.0, 5.0, 5.0]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(diou(a, b).sum(), a)
    step = 1e-6
    for axis in range(4):
        moved = a.detach().clone()
        moved[0, axis] += step
        slope = (diou(moved, b) - diou(a.detach(), b)).item() / step
        assert gradient[0, axis].item() == pytest.approx(slope, abs=1e-5)
    (full,) = torch.autograd.grad(ciou(a, b).sum(), a)
    shape = (4 / np.pi**2) * (np.arctan(5 / 5) - np.arctan(4 / 6)) ** 2
    weight = shape / (shape - iou(a, b).item() + 1)
    shape_slope_w = (8 / np.pi**2) * (np.arctan(5 / 5) - np.arctan(4 / 6)) * -(6 / (4**2 + 6**2))
    assert (full - gradient)[0, 2].item() == pytest.approx(-weight * shape_slope_w, abs=1e-6)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_values_and_gradients_are_finite_for_extreme_boxes(flavour: object) -> None:
    rng = np.random.Generator(np.random.Philox(key=2))
    values = torch.tensor(rng.choice(np.array(EXTREMES, np.float32), (2, 50_000, 4)), requires_grad=True)
    overlap = flavour(values[0], values[1])  # type: ignore[operator]
    assert overlap.isfinite().all()
    (gradient,) = torch.autograd.grad(overlap.sum(), values)
    assert gradient.isfinite().all()


# Subnormal numbers are among `EXTREMES`; whether they are drawn would depend on the modules that are loaded.
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


@settings(max_examples=100)
@given(arrays(np.float32, (2, 4, 4), elements=FINITE))
def test_values_and_gradients_are_finite_for_any_finite_boxes(boxes: np.ndarray) -> None:
    values = torch.tensor(boxes, requires_grad=True)
    total = torch.stack([flavour(values[0], values[1]) for flavour in FLAVOURS])
    assert total.isfinite().all()
    (gradient,) = torch.autograd.grad(total.sum(), values)
    assert gradient.isfinite().all()


SHIFT = 2.0**-20
KINDS = {
    "identical": lambda boxes, rng: boxes,
    "nearly identical": lambda boxes, rng: boxes * (1 + SHIFT * rng.uniform(-1, 1, boxes.shape)),
    "one side longer": lambda boxes, rng: boxes * np.array([1, 1, 1, 1 + SHIFT]),
    "inside": lambda boxes, rng: boxes * np.array([1, 1, 0.5, 1]),
}
SIZES = {"tiny": 1e-6, "usual": 1.0, "of a thousand cells": 1e3, "huge": 1e8}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_overlap_of_boxes_that_agree_is_finite_and_at_most_one(kind: str, size: str) -> None:
    """Corners are rounded, so that identical boxes came out above 1 in several of a hundred cases, and ciou as NaN."""
    rng = np.random.Generator(np.random.Philox(key=3))
    boxes = rng.uniform(0.01, 4.0, (100_000, 4)) * SIZES[size]
    pair = np.stack([boxes, KINDS[kind](boxes, rng)]).astype(np.float32)
    values = torch.tensor(pair, requires_grad=True)
    for flavour in FLAVOURS:
        overlap = flavour(values[0], values[1])
        assert overlap.isfinite().all() and overlap.max() <= 1
        (gradient,) = torch.autograd.grad(overlap.sum(), values)
        assert gradient.isfinite().all()
        if kind == "identical" and size != "tiny":
            assert overlap.min() > 0.999


@settings(max_examples=100)
@given(
    arrays(np.float32, (8, 4), elements=st.floats(2.0**-20, 2.0**20, width=32)),
    arrays(np.float32, (8, 4), elements=st.sampled_from([1.0, 1 - 2.0**-23, 1 + 2.0**-22, 1 + 2.0**-10])),
)
def test_overlap_of_nearly_equal_boxes_is_finite_and_at_most_one(boxes: np.ndarray, factors: np.ndarray) -> None:
    values = torch.tensor(np.stack([boxes, boxes * factors]), requires_grad=True)
    total = torch.stack([flavour(values[0], values[1]) for flavour in FLAVOURS])
    assert total.isfinite().all() and total.max() <= 1
    (gradient,) = torch.autograd.grad(total.sum(), values)
    assert gradient.isfinite().all()
