"""The trackers by the names that `--track` takes. Each function imports its package only when it is called."""

from __future__ import annotations

from onelook.callbacks.trackers.detached import Detached, TrackerKind
from onelook.callbacks.trackers.tracker import Tracker
from onelook.engine.callback import Callback
from onelook.settings.train import TrainSettings


def trackers_for(settings: TrainSettings) -> list[Callback]:
    """The observers that `track` asks for; none unless it does."""
    return [Detached({name: TRACKERS[name] for name in settings.track})] if settings.track else []


def _tensorboard() -> Tracker:
    from onelook.callbacks.trackers.tensorboard import TensorBoardTracker

    return TensorBoardTracker()


def _mlflow() -> Tracker:
    from onelook.callbacks.trackers.mlflow import MlflowTracker

    return MlflowTracker()


TRACKERS: dict[str, TrackerKind] = {
    "tensorboard": TrackerKind(_tensorboard, ("tensorboard",)),
    "mlflow": TrackerKind(_mlflow, ("mlflow-skinny", "mlflow")),
}
