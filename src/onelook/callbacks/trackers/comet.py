"""Keeps a run in Comet; offline experiments (COMET_START_ONLINE=0) lie in the folder `comet` of the run folder."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onelook.callbacks.trackers.identity import recall_identity, remember_identity
from onelook.callbacks.trackers.tracker import LabelledImage, best_metrics, project_of
from onelook.structures.detections import rows_of
from onelook.training.callback import FitEnd, FitStart

if TYPE_CHECKING:
    from comet_ml import CometExperiment

logger = logging.getLogger(__name__)

NAME = "comet"
MAX_BOXES = 50
# Read at import. They switch off reports to Comet, patches of other packages and notes on the console.
ENVIRONMENT = {
    "COMET_ERROR_TRACKING_ENABLE": "false",
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_LOGGING_CONSOLE": "warning",
}
# What Comet gathers by itself: code, commit, machine, load, output.
UNASKED: dict[str, Any] = {
    "auto_histogram_epoch_rate": 0,
    "auto_log_co2": False,
    "auto_metric_logging": False,
    "auto_output_logging": False,
    "auto_param_logging": False,
    "display_summary_level": 0,
    "log_code": False,
    "log_env_details": False,
    "log_git_metadata": False,
    "log_git_patch": False,
    "log_graph": False,
    "parse_args": False,
}


class CometTracker:
    """Settings as parameters, rows as metrics with the epoch as step and epoch; images, boxes, models.

    A resumed run continues in the experiment that it began.
    """

    _experiment: CometExperiment

    def __init__(self) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        excepthook = sys.excepthook
        import comet_ml

        sys.excepthook = excepthook  # Comet's would send the error of a failed run
        self._begin = comet_ml.start
        self._config = comet_ml.ExperimentConfig

    def start(self, run: FitStart) -> None:
        """Begin an experiment, or continue that of a resumed run."""
        folder = run.run_folder
        self._experiment = self._begin(
            workspace=run.settings.entity or None,
            project_name=os.environ.get("COMET_PROJECT_NAME") or project_of(folder),
            experiment_key=recall_identity(folder, NAME) if run.is_resumed else None,
            experiment_config=self._config(offline_directory=str(folder / NAME), name=folder.name, **UNASKED),
        )
        remember_identity(folder, NAME, self._experiment.get_key())
        logger.info("tracker `comet`: %s", self._experiment.url or folder / NAME)
        self._experiment.log_parameters(run.settings.model_dump(mode="json"))
        self._experiment.log_others({"class_names": ", ".join(run.names), "model": run.model_summary})

    def log_row(self, epoch: int, row: Mapping[str, float]) -> None:
        """Log a metric for each number."""
        self._experiment.log_metrics(dict(row), step=epoch, epoch=epoch)

    def log_images(self, paths: Sequence[Path]) -> None:
        """Log the files under their names."""
        for path in paths:
            self._experiment.log_image(str(path), name=path.name, overwrite=True)

    def log_boxes(self, epoch: int, images: Sequence[LabelledImage]) -> None:
        """Log images with labels and detections in two layers."""
        for image in images:
            found = rows_of(image.detections)[:MAX_BOXES]
            layers: list[Any] = [
                {"name": "labels", "data": [_box(image, box, class_id) for box, class_id in image.labels]},
                {
                    "name": "detections",
                    "data": [_box(image, box, class_id, score) for box, score, class_id, _ in found],
                },
            ]
            self._experiment.log_image(str(image.path), name=image.path.name, step=epoch, annotations=layers)

    def log_model(self, path: Path, aliases: Sequence[str], metadata: Mapping[str, float]) -> None:
        """Log the checkpoint as a model that is called by its first alias."""
        self._experiment.log_model(aliases[0], str(path), overwrite=True, metadata=dict(metadata))

    def finish(self, end: FitEnd) -> None:
        """Log the final metrics as `best/...`, and wait until what waits is sent, or packed."""
        self._experiment.log_metrics(best_metrics(end), step=max(end.best_epoch, 0))
        self._experiment.log_others({"best_epoch": end.best_epoch, "reason": end.reason})
        self._experiment.end()


def _box(image: LabelledImage, box: list[float], class_id: int, score: float = 1.0) -> dict[str, Any]:
    """A box as Comet takes it: top-left corner and size in pixels; labels have score 1."""
    left, top, right, bottom = box
    return {"boxes": [[left, top, right - left, bottom - top]], "label": image.names[class_id], "score": score}
