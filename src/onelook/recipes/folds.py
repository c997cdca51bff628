"""Training on folds: one dataset after the other with the same settings, then a summary of all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.errors import OnelookError, StopRequested
from onelook.metrics.fold_summary import FoldScore, FoldSummary, sum_up
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.folds_files import score_of, write_summary
from onelook.recipes.folds_preparation import PreparedFolds, prepare_folds
from onelook.recipes.launch import train_on_devices
from onelook.recipes.training_series import free_training_memory
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import new_run
from onelook.training.callback import Callback

logger = logging.getLogger(__name__)

# Called for every fold that is done: its score, and how many folds there are.
Observer = Callable[[FoldScore, int], None]


@dataclass(frozen=True)
class FoldsResult:
    """What trainings on folds give.

    Attributes:
        folds: scores of the folds, in their order.
        summary: means, standard deviations and ranges, in all and per class.
        run_folder: where everything is.
    """

    folds: tuple[FoldScore, ...]
    summary: FoldSummary
    names: tuple[str, ...]
    run_folder: Path


def train_folds(
    given: Mapping[str, Any],
    *,
    file: Path | None = None,
    callbacks: Sequence[Callback] = (),
    observer: Observer | None = None,
) -> FoldsResult:
    """Train on each of the datasets that `onelook split --folds` made, or resume, and sum up.

    Folds that are done are not trained on again, one that was interrupted resumes where it was.

    Args:
        callbacks: observers of all trainings.
        observer: called for every fold that is done, those of earlier calls included.

    Raises:
        OnelookError: a setting, the model or the data of any fold cannot be used; nothing has been written then.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; all is saved and can be resumed.
    """
    with StopSignal() as stop:
        prepared = prepare_folds(given, file, stop)
        files = {"callbacks": given["callbacks"]} if given.get("callbacks") else {}
        run = RunDir(prepared.folder.path)
        with _resume_hint(prepared), _remove_if_refused(prepared), run.lock(), _status(run):
            scores: list[FoldScore] = []
            for number in range(1, len(prepared.data) + 1):
                stop.check()
                _train_fold(prepared, number, files=files, callbacks=callbacks)
                scores.append(score_of(prepared.folder.fold(number)))
                summary = sum_up([score.metrics for score in scores])
                write_summary(prepared, scores, summary)
                if observer is not None:
                    observer(scores[-1], len(prepared.data))
            return FoldsResult(tuple(scores), summary, prepared.names, prepared.folder.path)


def _train_fold(
    prepared: PreparedFolds, number: int, *, files: Mapping[str, Any], callbacks: Sequence[Callback]
) -> None:
    if prepared.folder.fold(number).is_finished:
        return
    logger.info("fold %d of %d: %s", number, len(prepared.data), prepared.data[number - 1])
    try:
        train_on_devices({**prepared.order(number), **files}, callbacks=callbacks)
    finally:
        free_training_memory()


@contextmanager
def _status(run: RunDir) -> Iterator[None]:
    """Leave in the folder how the trainings stand."""
    record = run.record
    run.begin(record if record.run_id else new_run())
    with run.end_recorded():
        yield


@contextmanager
def _remove_if_refused(prepared: PreparedFolds) -> Iterator[None]:
    """Remove the folder again if the training on the first fold was refused before it wrote anything."""
    try:
        yield
    except OnelookError:
        if prepared.is_new and not prepared.folder.fold(1).path.exists():
            prepared.folder.beginning.unlink(missing_ok=True)
            run = RunDir(prepared.folder.path)
            for path in (run.status, run.lock_file):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # it was there before, and has other things in it
                prepared.folder.path.rmdir()
        raise


@contextmanager
def _resume_hint(prepared: PreparedFolds) -> Iterator[None]:
    try:
        yield
    except StopRequested as problem:
        if not prepared.folder.beginning.is_file():
            raise
        hint = f"resume all folds: onelook train --resume {prepared.folder.path}"
        if problem.is_told:  # by the processes that have trained
            logger.info("%s", hint)
            raise
        raise StopRequested(problem.message, hint=hint) from problem
