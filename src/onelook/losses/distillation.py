"""What a student learns from the predictions of a teacher for the same images, beside what it learns from the labels.

Boxes and classes, where the teacher sees something, as detectors without anchors are commonly distilled (Xu et al.,
PP-YOLOE, 2022, and its successor). Both sides are decoded, so that heads of different kinds can teach each other.

Letters: B images, N rows of a prediction, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.iou import ciou
from onelook.losses.protocol import NOMINAL_IMAGES, LossTerms

COLUMNS = ("teach_box", "teach_cls")
LEAST_CONFIDENCE = 0.05
_OVERLAP, _DISTANCE, _CLASS = 2.5, 0.5, 0.5
_LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class Lesson:
    """What a teacher says about a batch.

    Attributes:
        predictions: (B, N, 5 + K) without gradient, rows and classes in the student's order.
        strides: (N,) pixels per cell of each row.
        known: (K,) bool: the classes that the teacher knows; the others are left to the labels.
    """

    predictions: Tensor
    strides: Tensor
    known: Tensor


def distillation_terms(student: Tensor, lesson: Lesson) -> LossTerms:
    """How far a student is from its teacher, at the rows where the teacher is sure of something by more than 0.05.

    Boxes: 1 - CIoU and the mean distance of a corner in cells, weighted by how sure the teacher is. Classes: cross
    entropy of confidences, objectness included. Both are divided by the sum of the weights, at least 1. All rows are
    computed, those that are not taught with a weight of 0: no shape depends on a value, and nothing waits for a GPU.

    Args:
        student: (B, N, 5 + K) decoded, with gradient.
        lesson: of the same images.
    """
    with torch.autocast(student.device.type, enabled=False):
        best = _confidences(lesson.predictions).where(lesson.known, 0).amax(dim=-1)  # (B, N)
        is_taught = best > LEAST_CONFIDENCE
        weights = best.where(is_taught, 0)
        # Other rows become equal ones: whatever was in them, a weight of 0 times their gradient is 0.
        own, goals = (rows.where(is_taught[..., None], 1) for rows in (student, lesson.predictions))
        corners_apart = (cxcywh_to_xyxy(own[..., :4]) - cxcywh_to_xyxy(goals[..., :4])).abs().mean(-1) / lesson.strides
        boxes = _OVERLAP * (1 - ciou(own[..., :4], goals[..., :4])) + _DISTANCE * corners_apart
        probabilities = _confidences(own).clamp(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        entropy = -torch.lerp((-probabilities).log1p(), probabilities.log(), _confidences(goals))
        entropy = entropy.where(is_taught[..., None] & lesson.known, 0)
        terms = torch.stack([(boxes * weights).sum(), _CLASS * entropy.sum()]) / weights.sum().clamp(min=1)
        return LossTerms(terms.sum() * (len(student) / NOMINAL_IMAGES), terms.detach())


def _confidences(predictions: Tensor) -> Tensor:
    return predictions[..., 4:5] * predictions[..., 5:]
