"""What `auto` settings become once the length of the run is known; see docs/concepts/small-data-sets.md."""

from __future__ import annotations

import logging
from typing import Any

from onelook.engine.schedule import MIN_UPDATES, Schedule, nominal_batch
from onelook.settings.train import TrainSettings

logger = logging.getLogger(__name__)

SHORT_RUN_LR0 = 0.001
SHORT_RUN_MOMENTUM = 0.9
SHORT_RUN_BIAS_LR = 0.0


def settle(settings: TrainSettings, num_images: int) -> TrainSettings:
    """The settings with numbers in place of `auto`: the images per update, and the optimiser with its rates.

    A run of fewer than 2000 updates is trained with AdamW, unless the user chose an optimiser or any number that
    belongs to one (`lr0`, `momentum`, `warmup_bias_lr`); all others with SGD.

    Args:
        settings: of the run.
        num_images: images of the training split.
    """
    settled: dict[str, Any] = {"nominal_batch": nominal_batch(settings, num_images)}
    if settings.optimizer == "auto":
        updates = Schedule(settings, num_images).total_updates
        has_own_rates = settings.model_fields_set & {"lr0", "momentum", "warmup_bias_lr"}
        if updates < MIN_UPDATES and not has_own_rates:
            settled |= {
                "optimizer": "AdamW",
                "lr0": SHORT_RUN_LR0,
                "momentum": SHORT_RUN_MOMENTUM,
                "warmup_bias_lr": SHORT_RUN_BIAS_LR,
            }
        else:
            settled["optimizer"] = "SGD"
        logger.info("%d updates: optimizer %s", updates, settled["optimizer"])
    return settings.model_copy(update=settled)
