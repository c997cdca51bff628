"""What `auto` settings become once the length of the run is known; see docs/concepts/small-datasets.md."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from onelook.errors import counted
from onelook.settings.train import TrainSettings
from onelook.training.families import Family
from onelook.training.schedule import MIN_UPDATES, Schedule, nominal_batch

logger = logging.getLogger(__name__)

VERY_SHORT_RUN = 1000
VERY_SHORT_RUN_BATCH = 8
SHORT_RUN_LR0 = 0.001
SHORT_RUN_MOMENTUM = 0.9
SHORT_RUN_BIAS_LR = 0.0


def settle(settings: TrainSettings, num_images: int, family: Family, *, num_classes: int) -> TrainSettings:
    """The settings with numbers instead of `auto`: batch, images per update, and the optimiser with its rates.

    What a family has other defaults for applies where the user has set nothing.

    A run of fewer than 1000 updates takes batches of 8, unless the user set `batch_size`. A run of fewer than 2000
    updates is trained with AdamW, unless the user chose an optimiser or any number that belongs to one (`lr0`,
    `momentum`, `warmup_bias_lr`); all others with SGD.
    """
    settings = _where_unset(settings, family.defaults)
    if "batch_size" not in settings.model_fields_set and _updates(settings, num_images) < VERY_SHORT_RUN:
        settings = settings.model_copy(update={"batch_size": VERY_SHORT_RUN_BATCH})
        logger.info("very short run: batch size %d", VERY_SHORT_RUN_BATCH)
    settled: dict[str, Any] = {"nominal_batch": nominal_batch(settings, num_images)}
    if settings.optimizer == "auto":
        updates = _updates(settings, num_images)
        has_own_rates = settings.model_fields_set & {"lr0", "momentum", "warmup_bias_lr"}
        if updates < MIN_UPDATES and not has_own_rates:
            settled |= {
                "optimizer": "AdamW",
                "lr0": SHORT_RUN_LR0,
                "momentum": SHORT_RUN_MOMENTUM,
                "warmup_bias_lr": SHORT_RUN_BIAS_LR,
            }
            has_several_classes = num_classes > 1 and not settings.single_cls
            if (
                settings.weights
                and has_several_classes
                and not settings.model_fields_set & set(family.multiclass_fine_tuning)
            ):
                settings = _where_unset(settings, family.multiclass_fine_tuning)
            if settings.weights:
                settings = _where_unset(settings, family.fine_tuning)
            settings = _where_unset(settings, family.short_runs)
        else:
            settled["optimizer"] = "SGD"
        logger.info("run of %s: optimizer %s", counted(updates, "update"), settled["optimizer"])
    return settings.model_copy(update=settled)


def _where_unset(settings: TrainSettings, values: Mapping[str, Any]) -> TrainSettings:
    return settings.model_copy(update={key: values[key] for key in values if key not in settings.model_fields_set})


def _updates(settings: TrainSettings, num_images: int) -> int:
    return Schedule(settings, num_images).total_updates
