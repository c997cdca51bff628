"""Keeps a run in MLflow: a database file beside the run folders, or what MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from onelook.callbacks.trackers.identity import recall_identity, remember_identity
from onelook.callbacks.trackers.tracker import best_metrics, project_of
from onelook.runs.run_dir import RunDir
from onelook.training.callback import FitEnd, FitStart

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

T = TypeVar("T")
NAME = "mlflow"
DATABASE = "mlflow.db"
ARTIFACTS = "mlflow-artifacts"
ENTRIES_PER_CALL = 100


class MlflowTracker:
    """Settings as parameters, rows as metrics with the epoch as step; images, tables and models as artifacts.

    A resumed run continues in the MLflow run that it began; epochs that are done again are not logged again.
    """

    _client: MlflowClient
    _run_id: str
    _folder: Path

    def __init__(self) -> None:
        _import_quietly()
        self._logged: set[int] = set()

    def start(self, run: FitStart) -> None:
        """Continue the MLflow run that this run has begun, or create one, and log the settings."""
        from mlflow import MlflowClient

        self._folder = run.run_folder
        address, artifacts = _locations(run.run_folder.parent)
        self._client = MlflowClient(tracking_uri=address)
        identity = recall_identity(run.run_folder, NAME) if run.is_resumed else None
        if identity is None or not self._reopen(identity):
            self._create(run, artifacts)
        self._log_settings({name: str(value) for name, value in run.settings.model_dump(mode="json").items()})
        self._tag({"model": run.model_summary, "device": run.device, "run_folder": str(run.run_folder)})
        classes: dict[str, str] = {str(number): name for number, name in enumerate(run.names)}
        self._client.log_dict(self._run_id, classes, "classes.json")

    def log_row(self, epoch: int, row: Mapping[str, float]) -> None:
        """Log a metric for each number."""
        if epoch not in self._logged:
            self._log_metrics(row, epoch)
            self._logged.add(epoch)

    def log_images(self, paths: Sequence[Path]) -> None:
        """Log the files below `images`."""
        for path in paths:
            self._client.log_artifact(self._run_id, str(path), "images")

    def log_model(self, path: Path, aliases: Sequence[str], metadata: Mapping[str, float]) -> None:
        """Log the checkpoint below `weights`; a tag for each alias says which file it is."""
        self._client.log_artifact(self._run_id, str(path), "weights")
        self._tag({f"model.{alias}": f"weights/{path.name}" for alias in aliases})

    def finish(self, end: FitEnd) -> None:
        """Log the final metrics as `best/...` and the tables of the run, and close the MLflow run."""
        self._log_metrics(best_metrics(end), max(end.best_epoch, 0))
        self._tag({"reason": end.reason, "best_epoch": str(end.best_epoch)})
        run = RunDir(self._folder)
        for table in (run.settings, run.results, run.metrics):
            if table.is_file():
                self._client.log_artifact(self._run_id, str(table))
        self._client.set_terminated(self._run_id, "KILLED" if end.metrics is None else "FINISHED")

    def _reopen(self, identity: str) -> bool:
        """Reopen an MLflow run; False if the store does not have it."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(identity, status="RUNNING")
        except MlflowException as problem:
            logger.warning("MLflow run `%s` cannot be resumed, a new one begins: %s", identity, problem)
            return False
        self._run_id = identity
        self._logged = {metric.step for metric in self._client.get_metric_history(identity, "x/lr0")}
        return True

    def _create(self, run: FitStart, artifacts: str | None) -> None:
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME") or project_of(run.run_folder)
        found = self._client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self._client.create_experiment(project, artifacts)
        self._run_id = self._client.create_run(experiment, run_name=run.run_folder.name).info.run_id
        remember_identity(run.run_folder, NAME, self._run_id)

    def _log_settings(self, settings: Mapping[str, str]) -> None:
        """Log parameters; MLflow lets none change, so those that a resumed run has changed become tags."""
        from mlflow.entities import Param

        known = self._client.get_run(self._run_id).data.params
        new = [Param(name, value) for name, value in settings.items() if name not in known]
        for part in _parts(new, ENTRIES_PER_CALL):
            self._client.log_batch(self._run_id, params=part)
        self._tag({f"resumed.{name}": value for name, value in settings.items() if known.get(name, value) != value})

    def _log_metrics(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(datetime.now(timezone.utc).timestamp() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _tag(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        for part in _parts([RunTag(name, value) for name, value in tags.items()], ENTRIES_PER_CALL):
            self._client.log_batch(self._run_id, tags=part)


def _import_quietly() -> None:
    """Import MLflow without its telemetry and its notes on the console.

    Recent versions refuse plain files as a store unless allowed to; a user who names a folder wants them.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    if "sql" in (os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:").split(":")[0]:
        # MLflow would import these in the tracker's thread, while the main thread forks loader processes; and it does
        # not say so if they are missing.
        import alembic.command  # noqa: F401
        import mlflow.store.tracking.sqlalchemy_store
    for name in (mlflow.__name__, "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _locations(project: Path) -> tuple[str, str | None]:
    """Address of the store, and of the artifacts of new experiments; None if the user chose the store."""
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    if chosen:
        return chosen, None
    return f"sqlite:///{(project / DATABASE).as_posix()}", (project / ARTIFACTS).as_uri()


def _parts(entries: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(entries), size):
        yield entries[first : first + size]
