"""The pieces of the loss against scalar formulas."""

from __future__ import annotations

import math

import pytest
import torch

from onelook.losses.terms import class_targets, cross_entropy, decode_matches, objectness_targets


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.5, 3.0])
@pytest.mark.parametrize("weight", [1.0, 0.5, 2.0])
def test_cross_entropy_equals_the_written_formula(gamma: float, weight: float) -> None:
    cases = [(-3.0, 0.0), (-1.0, 1.0), (0.3, 0.25), (2.0, 1.0), (5.0, 0.0)]
    expected = 0.0
    for logit, y in cases:
        p = sigmoid(logit)
        entropy = -(weight * y * math.log(p) + (1 - y) * math.log(1 - p))
        alpha = 1.0 if gamma == 0 else 0.25 * y + 0.75 * (1 - y)
        expected += entropy * alpha * (1 - (y * p + (1 - y) * (1 - p))) ** gamma / len(cases)
    logits, targets = (torch.tensor(column) for column in zip(*cases, strict=True))
    found = cross_entropy(logits, targets, positive_weight=weight, focal_gamma=gamma)
    assert found.mean().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 2.0])
def test_cross_entropy_of_saturated_logits_has_finite_gradients(gamma: float) -> None:
    logits = torch.tensor([-1e30, -1e4, -90.0, 0.0, 90.0, 1e4, 1e30], requires_grad=True)
    for value in (0.0, 0.3, 1.0):
        entropy = cross_entropy(logits, torch.full((7,), value), positive_weight=1.5, focal_gamma=gamma).mean()
        (gradient,) = torch.autograd.grad(entropy, logits)
        assert entropy.isfinite()
        assert gradient.isfinite().all()


def test_decoded_boxes_equal_the_written_formula() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 2.0, -2.0]])
    anchors = torch.tensor([[2.0, 3.0], [1.5, 4.0]])
    expected = [
        [0.5, 0.5, 2.0, 3.0],
        [2 * sigmoid(1) - 0.5, 2 * sigmoid(-1) - 0.5, (2 * sigmoid(2)) ** 2 * 1.5, (2 * sigmoid(-2)) ** 2 * 4],
    ]
    torch.testing.assert_close(decode_matches(logits, anchors), torch.tensor(expected))


def test_class_targets_put_the_rest_on_the_other_classes() -> None:
    assert class_targets(torch.tensor([2, 0]), 3, label_smoothing=0.0).tolist() == [[0, 0, 1], [1, 0, 0]]
    smooth = class_targets(torch.tensor([2]), 3, label_smoothing=0.1)
    assert smooth[0].tolist() == pytest.approx([0.05, 0.05, 0.95])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_best_quality_wins_a_cell_whatever_the_order(order: list[int]) -> None:
    quality = torch.tensor([0.2, 0.9, 0.5, -0.3])[order]
    cells = torch.tensor([7, 7, 7, 2])[order]
    assert objectness_targets(quality, cells, 9).tolist() == pytest.approx([0, 0, 0, 0, 0, 0, 0, 0.9, 0])
