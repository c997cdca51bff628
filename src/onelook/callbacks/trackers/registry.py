"""The trackers by the names that `--track` takes. Each function imports its package only when it is called."""

from __future__ import annotations

import logging

from onelook.callbacks.trackers.detached import Detached, TrackerKind
from onelook.callbacks.trackers.tracker import Tracker
from onelook.settings.train import TrainSettings
from onelook.training.callback import Callback

logger = logging.getLogger(__name__)

# Settings of trackers, and who takes them.
OPTIONS = {
    "entity": ("wandb", "comet"),
    "upload_dataset": ("wandb",),
    "artifact_alias": ("wandb",),
    "bbox_interval": ("wandb", "clearml", "comet"),
}


def trackers_for(settings: TrainSettings) -> list[Callback]:
    """The observers that `track` asks for; none unless it does."""
    _name_idle_options(settings)
    return [Detached({name: TRACKERS[name] for name in settings.track})] if settings.track else []


def _name_idle_options(settings: TrainSettings) -> None:
    """Warn of options of trackers that none of the trackers in use takes."""
    for option, takers in OPTIONS.items():
        was_given = getattr(settings, option) != TrainSettings.model_fields[option].default
        if was_given and not set(takers) & set(settings.track):
            logger.warning("setting `%s` has no effect without `track`: %s", option, ", ".join(takers))


def _tensorboard() -> Tracker:
    from onelook.callbacks.trackers.tensorboard import TensorBoardTracker

    return TensorBoardTracker()


def _mlflow() -> Tracker:
    from onelook.callbacks.trackers.mlflow import MlflowTracker

    return MlflowTracker()


def _wandb() -> Tracker:
    from onelook.callbacks.trackers.wandb import WandbTracker

    return WandbTracker()


def _clearml() -> Tracker:
    from onelook.callbacks.trackers.clearml import ClearMlTracker

    return ClearMlTracker()


def _comet() -> Tracker:
    from onelook.callbacks.trackers.comet import CometTracker

    return CometTracker()


TRACKERS: dict[str, TrackerKind] = {
    "tensorboard": TrackerKind(_tensorboard, ("tensorboard",)),
    "mlflow": TrackerKind(_mlflow, ("mlflow-skinny", "mlflow")),
    "wandb": TrackerKind(_wandb, ("wandb",)),
    "clearml": TrackerKind(_clearml, ("clearml",)),
    "comet": TrackerKind(_comet, ("comet-ml",)),
}
