"""Knowledge distillation: what a student learns from a teacher's outputs for the same images, besides the labels.

Predictions: boxes and classes where the teacher sees something, as detectors without anchors are commonly distilled
(Xu et al., PP-YOLOE, 2022, and its successor). Both sides are decoded, so that heads of different kinds can teach each
other. Features: where in the image each channel is high (Shu et al., Channel-wise Knowledge Distillation for Dense
Prediction, 2021, section 3.2).

Letters: B images, N rows of a prediction, K classes, T channels of the teacher, H x W cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.iou import ciou
from onelook.losses.protocol import NOMINAL_IMAGES, LossTerms, TrainingLoss
from onelook.models.decoding import confidences
from onelook.structures.batch import Targets

PREDICTION_COLUMNS = ("teach_box", "teach_cls")
FEATURE_COLUMNS = ("teach_feature",)
LEAST_CONFIDENCE = 0.05
_OVERLAP, _DISTANCE, _CLASS = 2.5, 0.5, 0.5
_LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class TeacherPredictions:
    """What a teacher predicts for a batch.

    Attributes:
        decoded: (B, N, 5 + K) without gradient, rows and classes in the student's order.
        strides: (N,) pixels per cell of each row.
        known: (K,) bool, classes that the teacher knows; the others are left to the labels.
    """

    decoded: Tensor
    strides: Tensor
    known: Tensor


def distillation_terms(student: Tensor, teacher: TeacherPredictions) -> LossTerms:
    """Distance between student and teacher, at the rows where the teacher's confidence is above 0.05.

    Boxes: 1 - CIoU and the mean distance of a corner in cells, weighted by the teacher's confidence. Classes: cross
    entropy of confidences, objectness included. Both are divided by the sum of the weights, at least 1. All rows are
    computed, those that are not taught with a weight of 0: no shape depends on a value, and nothing waits for a GPU.

    Args:
        student: (B, N, 5 + K) decoded, with gradient.
        teacher: predictions for the same images.
    """
    with torch.autocast(student.device.type, enabled=False):
        best = confidences(teacher.decoded).where(teacher.known, 0).amax(dim=-1)  # (B, N)
        is_taught = best > LEAST_CONFIDENCE
        weights = best.where(is_taught, 0)
        # Other rows become equal ones: whatever they hold, a weight of 0 times their gradient is 0.
        own, goals = (rows.where(is_taught[..., None], 1) for rows in (student, teacher.decoded))
        corners_apart = (cxcywh_to_xyxy(own[..., :4]) - cxcywh_to_xyxy(goals[..., :4])).abs().mean(-1) / teacher.strides
        boxes = _OVERLAP * (1 - ciou(own[..., :4], goals[..., :4])) + _DISTANCE * corners_apart
        probabilities = confidences(own).clamp(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        entropy = -torch.lerp((-probabilities).log1p(), probabilities.log(), confidences(goals))
        entropy = entropy.where(is_taught[..., None] & teacher.known, 0)
        terms = torch.stack([(boxes * weights).sum(), _CLASS * entropy.sum()]) / weights.sum().clamp(min=1)
        return LossTerms(terms.sum() * (len(student) / NOMINAL_IMAGES), terms.detach())


def feature_terms(student: Sequence[Tensor], teacher: Sequence[Tensor], strength: Tensor) -> LossTerms:
    """Distance between the features of a student and those of its teacher, map by map.

    Each channel of each image is a distribution over the cells; the divergence (KL) of the student's from the teacher's
    is a mean over images and channels, and a sum over maps. All features are normalised before, over the images that
    are computed together: otherwise a channel of large values would be a single cell, and one of small values none.

    Args:
        student: (B, T, H, W) of each map, in the channels of the teacher, with gradient.
        teacher: the same, without gradient.
        strength: 0-d factor.
    """
    with torch.autocast(student[0].device.type, enabled=False):
        distances = []
        for maps in zip(student, teacher, strict=True):
            own, goal = (functional.log_softmax(_normalised(features).flatten(2), dim=2) for features in maps)
            apart = functional.kl_div(own, goal, reduction="sum", log_target=True)
            distances.append(apart / (own.shape[0] * own.shape[1]))
        term = torch.stack(distances).sum() * strength
        return LossTerms(term * (len(student[0]) / NOMINAL_IMAGES), term.detach()[None])


def _normalised(features: Tensor) -> Tensor:
    return functional.batch_norm(features.float(), None, None, training=True)


@dataclass(frozen=True)
class TeacherOutputs:
    """All outputs of a teacher for a batch that the student learns from.

    Attributes:
        predictions: None if they are not learned.
        features: (B, T, H, W) of each map, without gradient; empty if they are not learned.
        strength: factor on the feature term, 0-d float32.
    """

    predictions: TeacherPredictions | None
    features: tuple[Tensor, ...]
    strength: Tensor


@dataclass(frozen=True)
class DistillationTargets(Targets):
    """Targets, and the outputs of a teacher for the same images."""

    teacher: TeacherOutputs


class DistillationLoss(TrainingLoss):
    """A family's loss and what a teacher adds to it; see `TrainingLoss`.

    Its raw maps are those of the family's loss, and behind them, if features are learned, the features of the student
    in the channels of the teacher. Its targets are `DistillationTargets`.

    Args:
        decode: raw maps to predictions of the student, (B, N, 5 + K).
    """

    def __init__(self, loss: TrainingLoss, decode: Callable[[Sequence[Tensor]], Tensor]) -> None:
        self._loss = loss
        self._decode = decode
        self.is_moving = loss.is_moving

    def prepare(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float) -> tuple[Any, TeacherOutputs]:
        """See `TrainingLoss`."""
        assert isinstance(targets, DistillationTargets)
        own_maps = raw_maps[: len(raw_maps) - len(targets.teacher.features)]
        return self._loss.prepare(own_maps, targets, progress), targets.teacher

    def terms(self, raw_maps: Sequence[Tensor], prepared: tuple[Any, TeacherOutputs]) -> LossTerms:
        """See `TrainingLoss`."""
        own, teacher = prepared
        num_own = len(raw_maps) - len(teacher.features)
        parts = [self._loss.terms(raw_maps[:num_own], own)]
        if teacher.predictions is not None:
            parts.append(distillation_terms(self._decode(raw_maps), teacher.predictions))
        if teacher.features:
            parts.append(feature_terms(raw_maps[num_own:], teacher.features, teacher.strength))
        return LossTerms(torch.stack([part.total for part in parts]).sum(), torch.cat([part.values for part in parts]))
