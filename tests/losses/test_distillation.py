"""What a student learns from a teacher's predictions, checked against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.iou import ciou
from onelook.losses.distillation import TeacherPredictions, distillation_terms, feature_terms
from onelook.losses.protocol import NOMINAL_IMAGES
from onelook.models.decoding import decode_points


def teacher(rows: list[list[float]], known: list[bool] | None = None) -> TeacherPredictions:
    predictions = torch.tensor([rows], dtype=torch.float64)
    num_classes = predictions.shape[2] - 5
    return TeacherPredictions(predictions, torch.full((len(rows),), 8.0), torch.tensor(known or [True] * num_classes))


TEACHER = [[20.0, 20.0, 10.0, 10.0, 0.8, 0.5, 0.25], [40.0, 40.0, 8.0, 8.0, 0.05, 0.9, 0.1]]


def test_terms_are_those_worked_out_by_hand() -> None:
    student = torch.tensor([[[24.0, 20.0, 10.0, 10.0, 0.5, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0, 0.5, 0.5, 0.5]]]).double()
    terms = distillation_terms(student, teacher(TEACHER))
    overlap = 60 / 140 - 4**2 / (14**2 + 10**2)  # the box around both is 14 x 10; squares have one shape
    distance = (4 + 0 + 4 + 0) / 4 / 8
    box = (2.5 * (1 - overlap) + 0.5 * distance) * 0.4  # the teacher is sure by 0.8 x 0.5; the other row is too unsure
    entropy = -sum(p * math.log(0.25) + (1 - p) * math.log(0.75) for p in (0.4, 0.2))
    assert terms.values.tolist() == pytest.approx([box, 0.5 * entropy]), "the weights sum up to less than 1"
    assert float(terms.total) == pytest.approx((box + 0.5 * entropy) / NOMINAL_IMAGES)


def test_weights_that_sum_up_to_more_than_1_divide() -> None:
    rows = [[20.0, 20.0, 10.0, 10.0, 0.9, 0.9]] * 3
    student = torch.tensor([[[24.0, 20.0, 10.0, 10.0, 0.9, 0.9]]]).double()
    one, three = (distillation_terms(student.repeat(1, n, 1), teacher(rows[:n])).values for n in (1, 3))
    assert three.tolist() == pytest.approx([float(one[0]) / 0.81, float(one[1]) / 0.81])


def test_a_student_that_repeats_its_teacher_is_at_the_least_and_gradients_lead_there() -> None:
    goal = teacher(TEACHER[:1])
    student = goal.decoded.clone().requires_grad_()
    at_goal = distillation_terms(student, goal)
    assert float(at_goal.values[0]) == pytest.approx(0, abs=1e-6)
    for change in (torch.full((7,), 0.1), torch.tensor([0.0, 0.0, 0.0, 0.0, -0.1, 0.1, 0.05])):
        assert float(distillation_terms(student.detach() + change, goal).total) > float(at_goal.total.detach())
    (gradient,) = torch.autograd.grad(at_goal.total, student)
    assert gradient[..., 4:].abs().max() < 1e-6
    (gradient,) = torch.autograd.grad(distillation_terms(student + torch.eye(7)[0], goal).total, student)
    assert float(gradient[0, 0, 0]) > 0, "to the left"


def test_a_box_that_grew_without_limit_where_nothing_is_taught_spoils_no_gradient() -> None:
    raw = torch.zeros(1, 1, 1, 2, 7)
    raw[0, 0, 0, 1, 2] = 100.0  # e to this power is no number of 32 bits
    raw.requires_grad_()
    goal = replace(teacher(TEACHER), decoded=torch.tensor([TEACHER]))
    distillation_terms(decode_points(raw, 8.0), goal).total.backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    assert torch.count_nonzero(raw.grad[0, 0, 0, 1]) == 0 < torch.count_nonzero(raw.grad[0, 0, 0, 0])


def test_classes_that_the_teacher_does_not_know_are_left_to_the_labels() -> None:
    student = torch.tensor([[[20.0, 20.0, 10.0, 10.0, 0.5, 0.5, 0.5]]]).double().requires_grad_()
    (gradient,) = torch.autograd.grad(distillation_terms(student, teacher(TEACHER[:1], [True, False])).total, student)
    assert float(gradient[0, 0, 5]) != 0
    assert float(gradient[0, 0, 6]) == 0


def test_a_teacher_that_sees_nothing_teaches_nothing() -> None:
    student = torch.rand(2, 3, 7).requires_grad_()
    nothing = TeacherPredictions(torch.zeros(2, 3, 7), torch.full((3,), 8.0), torch.tensor([True, True]))
    terms = distillation_terms(student, nothing)
    terms.total.backward()  # type: ignore[no-untyped-call]
    assert terms.values.tolist() == [0, 0] and not student.grad.any()  # type: ignore[union-attr]


def of_chosen_rows(student: Tensor, goal: TeacherPredictions) -> Tensor:
    """The terms of those rows alone that the teacher is sure of."""
    chosen = (goal.decoded[..., 4:5] * goal.decoded[..., 5:])[..., goal.known].amax(-1) > 0.05
    ours, theirs = student[chosen], goal.decoded[chosen]
    own, confidences = ((rows[:, 4:5] * rows[:, 5:])[:, goal.known] for rows in (ours, theirs))
    weights, strides = confidences.amax(-1), goal.strides.expand(chosen.shape)[chosen]
    apart = (cxcywh_to_xyxy(ours[:, :4]) - cxcywh_to_xyxy(theirs[:, :4])).abs().mean(1) / strides
    boxes = ((2.5 * (1 - ciou(ours[:, :4], theirs[:, :4])) + 0.5 * apart) * weights).sum()
    limited = own.clamp(1e-7, 1 - 1e-7)
    classes = torch.nn.functional.binary_cross_entropy(limited, confidences, reduction="sum")
    return torch.stack([boxes, 0.5 * classes]) / weights.sum().clamp(min=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("known", [(True, True, True), (False, True, False)])
def test_rows_that_are_not_taught_change_neither_values_nor_gradients(
    known: tuple[bool, ...], dtype: torch.dtype
) -> None:
    """Whatever is in them: all rows are computed, with weights."""
    rng = torch.Generator().manual_seed(3)
    rows = torch.rand((2, 2, 40, 8), generator=rng, dtype=dtype)
    rows[..., :4] *= 60
    rows[0, :, ::3, 4] *= 0.04  # the teacher's
    rows[1, :, ::6, :4], rows[1, :, 3::6] = torch.inf, torch.nan
    goal = TeacherPredictions(rows[0], torch.full((40,), 8.0, dtype=dtype), torch.tensor(known))
    found = []
    for form in (of_chosen_rows, lambda *given: distillation_terms(*given).total * (NOMINAL_IMAGES / 2)):
        student = rows[1].clone().requires_grad_()
        total = form(student, goal).sum()
        found.append((total, *torch.autograd.grad(total, student)))
    (plain, plain_gradient), (total, gradient) = found
    torch.testing.assert_close(total, plain, rtol=1e-6, atol=0)
    scale = float(plain_gradient.abs().max())
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-6, atol=1e-6 * scale)
    assert float(plain.detach()) > 1 and scale > 0 and not gradient[:, ::3].any()


def test_features_are_compared_channel_by_channel_as_distributions_over_cells() -> None:
    """With the formula of Shu et al., section 3.2, written out in NumPy; the loudness of a channel is no matter."""
    rng = np.random.Generator(np.random.Philox(key=4))
    student, teacher = ([rng.normal(3, 2, (2, 5, side, side + 1)) for side in (4, 2)] for _ in range(2))

    def log_distribution(maps: np.ndarray) -> np.ndarray:
        mean, variance = maps.mean((0, 2, 3), keepdims=True), maps.var((0, 2, 3), keepdims=True)
        cells = ((maps - mean) / np.sqrt(variance + 1e-5)).reshape(2, 5, -1)
        return cells - np.log(np.exp(cells).sum(2, keepdims=True))

    expected = 0.0
    for own, goal in zip(student, teacher, strict=True):
        wanted = log_distribution(goal)
        expected += (np.exp(wanted) * (wanted - log_distribution(own))).sum() / (2 * 5)
    maps, goals = ([torch.from_numpy(part).float() for part in side] for side in (student, teacher))
    maps = [part.requires_grad_() for part in maps]
    terms = feature_terms(maps, goals, torch.tensor(0.7))
    assert terms.values.tolist() == pytest.approx([0.7 * expected], rel=1e-5) and expected > 0.1
    assert float(terms.total.detach()) == pytest.approx(0.7 * expected * 2 / NOMINAL_IMAGES, rel=1e-5)
    assert all(part.abs().max() > 1e-6 for part in torch.autograd.grad(terms.total, maps))
    at_goal = feature_terms([3 * part + 1 for part in goals], goals, torch.tensor(1.0))
    assert float(at_goal.values) == pytest.approx(0, abs=1e-4)
