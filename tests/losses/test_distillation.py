"""What a student learns from a teacher's predictions, checked against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from onelook.losses.distillation import Lesson, distillation_terms
from onelook.losses.protocol import NOMINAL_IMAGES


def lesson(rows: list[list[float]], known: list[bool] | None = None) -> Lesson:
    predictions = torch.tensor([rows], dtype=torch.float64)
    num_classes = predictions.shape[2] - 5
    return Lesson(predictions, torch.full((len(rows),), 8.0), torch.tensor(known or [True] * num_classes))


TEACHER = [[20.0, 20.0, 10.0, 10.0, 0.8, 0.5, 0.25], [40.0, 40.0, 8.0, 8.0, 0.05, 0.9, 0.1]]


def test_terms_are_those_worked_out_by_hand() -> None:
    student = torch.tensor([[[24.0, 20.0, 10.0, 10.0, 0.5, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0, 0.5, 0.5, 0.5]]]).double()
    terms = distillation_terms(student, lesson(TEACHER))
    overlap = 60 / 140 - 4**2 / (14**2 + 10**2)  # the box around both is 14 x 10; squares have one shape
    distance = (4 + 0 + 4 + 0) / 4 / 8
    box = (2.5 * (1 - overlap) + 0.5 * distance) * 0.4  # the teacher is sure by 0.8 x 0.5; the other row is too unsure
    entropy = -sum(p * math.log(0.25) + (1 - p) * math.log(0.75) for p in (0.4, 0.2))
    assert terms.values.tolist() == pytest.approx([box, 0.5 * entropy]), "the weights sum up to less than 1"
    assert float(terms.total) == pytest.approx((box + 0.5 * entropy) / NOMINAL_IMAGES)


def test_weights_that_sum_up_to_more_than_1_divide() -> None:
    rows = [[20.0, 20.0, 10.0, 10.0, 0.9, 0.9]] * 3
    student = torch.tensor([[[24.0, 20.0, 10.0, 10.0, 0.9, 0.9]]]).double()
    one, three = (distillation_terms(student.repeat(1, n, 1), lesson(rows[:n])).values for n in (1, 3))
    assert three.tolist() == pytest.approx([float(one[0]) / 0.81, float(one[1]) / 0.81])


def test_a_student_that_repeats_its_teacher_is_at_the_least_and_gradients_lead_there() -> None:
    goal = lesson(TEACHER[:1])
    student = goal.predictions.clone().requires_grad_()
    at_goal = distillation_terms(student, goal)
    assert float(at_goal.values[0]) == pytest.approx(0, abs=1e-6)
    for change in (torch.full((7,), 0.1), torch.tensor([0.0, 0.0, 0.0, 0.0, -0.1, 0.1, 0.05])):
        assert float(distillation_terms(student.detach() + change, goal).total) > float(at_goal.total.detach())
    (gradient,) = torch.autograd.grad(at_goal.total, student)
    assert gradient[..., 4:].abs().max() < 1e-6
    (gradient,) = torch.autograd.grad(distillation_terms(student + torch.eye(7)[0], goal).total, student)
    assert float(gradient[0, 0, 0]) > 0, "to the left"


def test_classes_that_the_teacher_does_not_know_are_left_to_the_labels() -> None:
    student = torch.tensor([[[20.0, 20.0, 10.0, 10.0, 0.5, 0.5, 0.5]]]).double().requires_grad_()
    (gradient,) = torch.autograd.grad(distillation_terms(student, lesson(TEACHER[:1], [True, False])).total, student)
    assert float(gradient[0, 0, 5]) != 0
    assert float(gradient[0, 0, 6]) == 0


def test_a_teacher_that_sees_nothing_teaches_nothing() -> None:
    student = torch.rand(2, 3, 7).requires_grad_()
    nothing = Lesson(torch.zeros(2, 3, 7), torch.full((3,), 8.0), torch.tensor([True, True]))
    terms = distillation_terms(student, nothing)
    terms.total.backward()  # type: ignore[no-untyped-call]
    assert terms.values.tolist() == [0, 0] and not student.grad.any()  # type: ignore[union-attr]
