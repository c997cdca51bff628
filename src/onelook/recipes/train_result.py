"""What a training gives: at its end, or read from the folder of a run that has finished before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from onelook.errors import RunFolderError, counted
from onelook.recipes.report import report_finished_run
from onelook.reports.run_record import read_run
from onelook.runs.run_dir import RunDir
from onelook.structures.metrics import DetectionMetrics
from onelook.training.callback import FitEnd
from onelook.training.eta import duration
from onelook.training.resume import Resumed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class TrainResult:
    """What a finished run gives.

    Attributes:
        metrics: metrics of the best weights on the validation split.
        best: checkpoint for inference.
        last: checkpoint that the run can be extended from.
        run_folder: where everything is.
        outcome: how the run ended.
    """

    metrics: DetectionMetrics
    best: Path
    last: Path
    run_folder: Path
    names: tuple[str, ...]
    outcome: FitEnd

    def __str__(self) -> str:
        found, done = self.metrics, self.outcome
        epochs = f"{counted(done.epochs_done, 'epoch')}, best {done.best_epoch}" if done.best_epoch >= 0 else "no epoch"
        return "\n".join(
            (
                f"run folder   {self.run_folder}",
                f"best weights {self.best}",
                f"last weights {self.last}",
                f"ended        {done.reason}, {epochs}, {duration(done.seconds)}",
                f"classes      {len(self.names)}",
                f"images       {found.num_images:,} with {counted(found.num_labels, 'label')} to validate",
                f"precision    {found.precision:.4f}",
                f"recall       {found.recall:.4f}",
                f"mAP50        {found.map50:.4f}",
                f"mAP50-95     {found.map50_95:.4f}",
            )
        )

    def __repr__(self) -> str:
        return f"<TrainResult of {self.run_folder}: mAP50 {self.metrics.map50:.4f}>"

    def _repr_html_(self) -> str:
        """For notebooks: the same, and the report to open."""
        report = escape(str(RunDir(self.run_folder).report))
        return f'<pre>{escape(str(self))}</pre><a href="{report}">{report}</a>'


def result_of(run: RunDir, document: Mapping[str, Any], *, seconds: float) -> TrainResult:
    """The result of a finished run, from its folder.

    Raises:
        RunFolderError: the final evaluation is missing or damaged.
    """
    metrics = read_run(run.path).metrics
    if metrics is None:
        raise RunFolderError(
            f"the run has finished, but `{run.metrics_arrays}` cannot be read",
            hint=f"measure its weights: `onelook val --weights {run.best}`",
        )
    progress = document["progress"]
    outcome = FitEnd(
        reason="early stop" if progress["stopped_early"] else "finished",
        epochs_done=progress["epoch"],
        best_epoch=progress["best_epoch"],
        best_fitness=progress["best_fitness"],
        history=tuple(progress["history"]),
        seconds=seconds,
        metrics=metrics,
    )
    return TrainResult(metrics, run.best, run.last, run.path, tuple(document["names"]), outcome)


def result_of_finished(resumed: Resumed, *, is_first: bool = True) -> TrainResult:
    """The result of a run that is resumed although nothing is left to do; a report that is missing is written.

    Args:
        is_first: whether this process writes the files.

    Raises:
        RunFolderError: see `result_of`.
    """
    run = resumed.run
    logger.info("run `%s` %s; nothing to do", run.path, resumed.done)
    result = result_of(run, resumed.checkpoint.document, seconds=0.0)
    if is_first and not resumed.settings.noreport and not run.report.exists():
        report_finished_run(run)
    return result
