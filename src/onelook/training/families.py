"""Families of detectors: which loss trains which head, and which settings then have no effect.

A family is a body (a layer table), a head, a loss and a decoder. Body and decoder are the model's own business; nothing
else asks which family a model is of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onelook.losses.detection_loss import DetectionLoss
from onelook.losses.points.distance_loss import DistanceLoss
from onelook.losses.points.yolox_loss import YoloxLoss
from onelook.losses.protocol import FamilyLoss
from onelook.models.detector import DetectionModel
from onelook.settings.train import TrainSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Family:
    """What training a kind of head needs besides the head.

    Attributes:
        create_loss: makes the loss for a model of this family, the settings of a run, and what `create_loss` takes.
        without_effect: settings that this family ignores.
        of_second_branch: settings that only its second branch uses.
        defaults: settings whose defaults differ in this family.
        short_runs: defaults for short runs; see docs/concepts/small-datasets.md.
        fine_tuning: defaults for short runs from weights, before those of `short_runs`.
        multiclass_fine_tuning: defaults for short runs from weights with several classes, before both; skipped if any
            is set.
    """

    create_loss: Callable[[DetectionModel, TrainSettings, float, float], FamilyLoss]
    without_effect: tuple[str, ...] = ()
    of_second_branch: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    short_runs: Mapping[str, Any] = field(default_factory=dict)
    fine_tuning: Mapping[str, Any] = field(default_factory=dict)
    multiclass_fine_tuning: Mapping[str, Any] = field(default_factory=dict)

    def ignored(self, *, has_second_branch: bool) -> tuple[str, ...]:
        """The settings that have no effect on a model with or without a second branch."""
        return self.without_effect + (() if has_second_branch else self.of_second_branch)


def _anchor_loss(model: DetectionModel, settings: TrainSettings, _early: float, _closing: float) -> FamilyLoss:
    grid = model.anchor_grid
    assert grid is not None, "only heads with anchors are trained by this loss"
    return DetectionLoss(
        grid,
        num_classes=model.num_classes,
        imgsz=settings.imgsz,
        hyperparameters=settings,
        auto_balance=settings.auto_balance,
    )


def _yolox_loss(model: DetectionModel, settings: TrainSettings, _early: float, closing: float) -> FamilyLoss:
    # The last epochs, of plain images, are for exact boxes.
    return YoloxLoss(
        model.stride_px,
        num_classes=model.num_classes,
        hyperparameters=settings,
        one_to_one=len(model.branches) == 2,
        l1_from=closing,
    )


def _distance_loss(model: DetectionModel, settings: TrainSettings, early: float, _closing: float) -> FamilyLoss:
    # A body that has been trained gives good boxes within a few epochs; there the early part costs accuracy.
    return DistanceLoss(
        model.stride_px,
        num_classes=model.num_classes,
        hyperparameters=settings,
        one_to_one=len(model.branches) == 2,
        early_share=0.0 if settings.weights else early,
    )


# Few updates teach boxes long before classes: with four times the weight they learn both.
_ANCHOR_FINE_TUNING = {"cls": 2.0, "close_mosaic": 0.2}

FAMILIES: dict[str, Family] = {
    "Detect": Family(_anchor_loss, without_effect=("no_one", "cls_softmax"), fine_tuning=_ANCHOR_FINE_TUNING),
    "Segment": Family(_anchor_loss, without_effect=("no_one", "cls_softmax"), fine_tuning=_ANCHOR_FINE_TUNING),
    "YoloX": Family(
        _yolox_loss,
        without_effect=("anchor_t", "anchors", "auto_balance", "noautoanchor", "cls_softmax"),
        defaults={"close_mosaic": 0.15},
    ),
    "Look": Family(
        _distance_loss,
        without_effect=("anchor_t", "anchors", "auto_balance", "noautoanchor"),
        of_second_branch=("obj", "obj_pw"),
        defaults={"close_mosaic": 0.15},
        short_runs={"cls": 1.0},
        fine_tuning={"cls": 2.5},
        # A trained body finds objects soon; their classes are told apart by a term that has no part for the background.
        multiclass_fine_tuning={"cls": 0.5, "cls_softmax": 5.0},
    ),
}
"""The block that ends a model -> its family."""


def family_of(definition: Mapping[str, Any]) -> Family:
    """The family of the model that a definition builds; the same for every model of that definition."""
    block: str = [*definition["backbone"], *definition["head"]][-1][2]
    return FAMILIES[block]


def create_loss(
    model: DetectionModel, settings: TrainSettings, *, early: float = 0.0, closing: float = 1.0
) -> FamilyLoss:
    """The loss that trains `model`.

    Args:
        early: share of the run after which its early part ends.
        closing: share of the run after which mosaic is closed.
    """
    return family_of(model.definition).create_loss(model, settings, early, closing)


def report_without_effect(model: DetectionModel, settings: TrainSettings) -> None:
    """Warn about every setting that differs from its default and that this model ignores."""
    fields, family = type(settings).model_fields, family_of(model.definition)
    ignored = family.ignored(has_second_branch=len(model.branches) == 2)
    idle = [name for name in ignored if getattr(settings, name) != fields[name].default]
    if idle:
        named = ", ".join(f"`{name}`" for name in idle)
        logger.warning("without effect for a model that ends with %s: %s", model.plans[-1].block, named)
