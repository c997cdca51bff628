"""Training: the table of contents of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from onelook.callbacks.installation import unmet_requirements
from onelook.callbacks.progress_file import ProgressFile
from onelook.callbacks.report_process import ReportProcess
from onelook.callbacks.run_facts import RunFactsFile
from onelook.callbacks.trackers.registry import trackers_for
from onelook.callbacks.user_file import load_callbacks
from onelook.callbacks.warning_log import logged_warnings
from onelook.data.split_images import write_split
from onelook.data.splits import Splits, write_ledgers
from onelook.errors import StopRequested
from onelook.files.atomic import write_text_atomic
from onelook.files.yaml import dump_yaml
from onelook.processes.launch_env import launch_id
from onelook.processes.process_group import joined_group, reasons_given
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.best_weights import measure_best
from onelook.recipes.fitting import fit
from onelook.recipes.preparation import prepare
from onelook.recipes.report import report_finished_run
from onelook.recipes.train_result import TrainResult, result_of_finished
from onelook.reports.run_plots import draw_data
from onelook.runs.checkpoint import run_id_in
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import RunStatus, new_run
from onelook.service.packages import require_packages
from onelook.training.callback import STOP_REQUESTED, Callback, Observers
from onelook.training.loading import validation_evaluator
from onelook.training.resume import Resumed, resumed_everywhere
from onelook.training.run import Run
from onelook.training.run_model import RunModel
from onelook.training.teacher import measure_teacher, teacher_of

logger = logging.getLogger(__name__)


def train(given: Mapping[str, Any], *, file: Path | None = None, callbacks: Sequence[Callback] = ()) -> TrainResult:
    """Train a detector, or resume training one.

    Args:
        callbacks: observers of the run.

    Raises:
        OnelookError: a setting, the data or the model cannot be used; nothing has been written then.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; the run is saved and can be resumed.
    """
    with StopSignal() as stop, joined_group(stop) as group, reasons_given(group), logged_warnings() as warnings:
        if given.get("serve_report"):
            require_packages("onelook train --serve-report")
        files = given.get("callbacks", ())
        users = group.together(lambda: [*callbacks, *load_callbacks(files)] if group.is_first else [])
        resumed = resumed_everywhere(given, file, group)
        if resumed is not None and resumed.done:
            return group.together(lambda: result_of_finished(resumed, is_first=group.is_first))
        for problem in unmet_requirements() if group.is_first else ():
            logger.warning("%s", problem)
        data, model, run = prepare(given, file, stop, group, resumed=resumed)
        with _claimed_folder(run):
            first = _observers(run, warnings, users) if group.is_first else []
            observers = Observers(first, resting=group.resting)
            return _train(data, model, run, observers, stop)


def _observers(run: Run, warnings: Sequence[str], users: Sequence[Callback]) -> list[Callback]:
    """The observers of process 0; ours come before those of the user, which can read the files that ours write."""
    ours: list[Callback] = [RunFactsFile(run.folder.facts, warnings), ProgressFile(run.folder.progress)]
    served = [ReportProcess()] if run.settings.serve_report else []
    return [*ours, *served, *users, *trackers_for(run.settings)]


def _train(data: Splits, model: RunModel, run: Run, observers: Observers, stop: StopSignal) -> TrainResult:
    if run.group.is_first:
        _write_beginning(data, model, run)
    evaluator = run.group.together(lambda: validation_evaluator(data, model, run, stop))
    teacher = teacher_of(model, run)
    own = measure_teacher(teacher, evaluator, run, stop) if teacher is not None else None
    outcome = fit(data, model, run, evaluator, observers=observers, stop=stop, teacher=teacher)
    if outcome.reason == STOP_REQUESTED:
        observers.send(outcome)
        stop.check()
    try:
        metrics = measure_best(data, run, evaluator, outcome, device=model.device, stop=stop)
    except StopRequested:
        observers.send(replace(outcome, reason=STOP_REQUESTED))
        raise
    if own is not None and own.map50_95 < metrics.map50_95 and run.group.is_first:
        logger.warning(
            "the student is better than its teacher (mAP50-95 %.4f): train it without a teacher", own.map50_95
        )
    outcome = replace(outcome, metrics=metrics)
    observers.send(outcome)
    folder = run.folder
    return TrainResult(metrics, folder.best, folder.last, folder.path, data.names, outcome)


@contextmanager
def _claimed_folder(run: Run) -> Iterator[None]:
    """Claim the run folder, and leave in it how the run ended."""
    folder = run.folder
    if not run.group.is_first:
        yield
        return
    with folder.lock():
        folder.begin(_identity(folder, run.resumed), launch=launch_id())
        with folder.end_recorded():
            yield
        if not run.settings.noreport:
            report_finished_run(folder)


def _identity(folder: RunDir, resumed: Resumed | None) -> RunStatus:
    """The run: that of the checkpoint, the one that this launch began before a restart, or a new one."""
    record = folder.record
    if resumed is not None:
        return replace(record, run_id=run_id_in(resumed.checkpoint.document))
    return record if launch_id() and record.launch == launch_id() else new_run()


def _write_beginning(data: Splits, model: RunModel, run: Run) -> None:
    folder = run.folder
    folder.weights.mkdir(exist_ok=True)
    write_text_atomic(folder.settings, dump_yaml(run.stored_settings()))
    write_ledgers(data, folder.ledger)
    if data.spec.chosen:
        folder.split_lists.mkdir(exist_ok=True)
        write_split(folder.split_lists, data.spec, data.spec.chosen, final=folder.split_lists)
    if not run.settings.noplots and run.resumed is None:
        draw_data(data, model.model, run)
