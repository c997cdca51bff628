"""The trackers by their `--track` names. A tracker's package is imported only when it is used."""

from __future__ import annotations

import logging
from importlib import import_module

from onelook.callbacks.trackers.detached import Detached, TrackerKind
from onelook.settings.train import TrainSettings
from onelook.training.callback import Callback

logger = logging.getLogger(__name__)

# Settings that only some trackers use.
OPTIONS = {
    "entity": ("wandb", "comet"),
    "upload_dataset": ("wandb",),
    "artifact_alias": ("wandb",),
    "bbox_interval": ("wandb", "clearml", "comet"),
}


def trackers_for(settings: TrainSettings) -> list[Callback]:
    _name_idle_options(settings)
    return [Detached({name: TRACKERS[name] for name in settings.track})] if settings.track else []


def _name_idle_options(settings: TrainSettings) -> None:
    """Warn of tracker settings that none of the trackers in use takes."""
    for option, takers in OPTIONS.items():
        was_given = getattr(settings, option) != TrainSettings.model_fields[option].default
        if was_given and not set(takers) & set(settings.track):
            logger.warning("setting `%s` has no effect without `track`: %s", option, ", ".join(takers))


def _kind(name: str, tracker: str, *packages: str) -> TrackerKind:
    """A tracker by its module and class; the module imports its package, so it is imported only when used."""
    return TrackerKind(lambda: getattr(import_module(f"onelook.callbacks.trackers.{name}"), tracker)(), packages)


TRACKERS = {
    "tensorboard": _kind("tensorboard", "TensorBoardTracker", "tensorboard"),
    "mlflow": _kind("mlflow", "MlflowTracker", "mlflow-skinny", "mlflow"),
    "wandb": _kind("wandb", "WandbTracker", "wandb"),
    "clearml": _kind("clearml", "ClearMlTracker", "clearml"),
    "comet": _kind("comet", "CometTracker", "comet-ml"),
}
