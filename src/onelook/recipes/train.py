"""Training: the table of contents of a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from onelook.callbacks.dropped_boxes import DroppedBoxes, warn_of_dropped_boxes
from onelook.callbacks.installation import unmet_requirements
from onelook.callbacks.results_csv import ResultsCsv, SpeedCsv
from onelook.callbacks.run_facts import RunFactsFile
from onelook.callbacks.trackers.identity import known_identities
from onelook.callbacks.trackers.registry import trackers_for
from onelook.callbacks.user_file import load_callbacks
from onelook.callbacks.warning_log import logged_warnings
from onelook.errors import OnelookError, StopRequested
from onelook.files.atomic import write_text_atomic
from onelook.files.yaml import dump_yaml
from onelook.inference.evaluator import Evaluation, Evaluator
from onelook.processes.device import describe_device
from onelook.processes.launch_env import launch_id
from onelook.processes.process_group import ProcessGroup, joined_group, reasons_given
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.division import write_split
from onelook.recipes.loading import training_batches, validation_batch_size, validation_evaluator
from onelook.recipes.preparation import Prepared, prepare
from onelook.recipes.report import report_finished_run
from onelook.recipes.resume import Resumed, resumed_everywhere
from onelook.recipes.run_plots import draw_data, draw_evaluation, draw_results
from onelook.recipes.splits import write_ledgers
from onelook.recipes.train_result import TrainResult, result_of_finished
from onelook.recipes.validate import write_metrics
from onelook.recipes.validation_files import write_coco
from onelook.reports.examples import write_examples
from onelook.runs.checkpoint import load_checkpoint, run_id_in
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import RunStatus, new_run
from onelook.settings.train import TRACKER_NAMES
from onelook.structures.coco_classes import is_coco
from onelook.structures.metrics import DetectionMetrics
from onelook.training.batch_gradient import ComputeOptions, shards_for
from onelook.training.callback import Callback, FitEnd, FitStart, Observers, RunControl
from onelook.training.checkpoint_keeper import CheckpointKeeper, Keeper, NoCheckpoints
from onelook.training.ema import ModelEma
from onelook.training.families import create_loss
from onelook.training.freeze import frozen_rows, stop_learning
from onelook.training.optimizer import create_optimizer
from onelook.training.schedule import Schedule
from onelook.training.state import Progress, TrainState
from onelook.training.sync_norm import synchronise_normalisation
from onelook.training.trainer import STOP_REQUESTED, Trainer
from onelook.training.weights import detector_of

logger = logging.getLogger(__name__)

COCO_IOU_THRES = 0.65
"""Of NMS, when a run is measured as COCO runs are compared."""


def train(given: Mapping[str, Any], *, file: Path | None = None, callbacks: Sequence[Callback] = ()) -> TrainResult:
    """Train a detector, or resume training one.

    Args:
        given: settings by name; see `TrainSettings`.
        file: YAML file with more settings, weaker than `given`.
        callbacks: observers of the run.

    Raises:
        OnelookError: a setting, the data or the model cannot be used; nothing has been written then.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; the run is saved and can be resumed.
    """
    with StopSignal() as stop, joined_group(stop) as group, reasons_given(group), logged_warnings() as warnings:
        files = given.get("callbacks", ())
        users = group.together(lambda: [*callbacks, *load_callbacks(files)] if group.is_first else [])
        resumed = resumed_everywhere(given, file, group)
        if resumed is not None and resumed.done:
            return group.together(lambda: result_of_finished(resumed, is_first=group.is_first))
        for problem in unmet_requirements() if group.is_first else ():
            logger.warning("%s", problem)
        prepared = prepare(given, file, stop, group, resumed=resumed)
        with _run_folder(prepared):
            trackers = trackers_for(prepared.settings) if group.is_first else []
            facts = [RunFactsFile(prepared.run.facts, warnings)] if group.is_first else []
            return _train(prepared, Observers([*facts, *users, *trackers], resting=group.resting), stop)


def _train(prepared: Prepared, observers: Observers, stop: StopSignal) -> TrainResult:
    if prepared.group.is_first:
        _write_beginning(prepared)
    rank, size = prepared.group.rank, prepared.group.world_size
    evaluator = prepared.group.together(lambda: validation_evaluator(prepared, rank=rank, world_size=size, stop=stop))
    outcome = _fit(prepared, evaluator, observers, stop)
    if outcome.reason == STOP_REQUESTED:
        observers.send(outcome)
        stop.check()
    try:
        metrics = _measure_best(prepared, evaluator, outcome, stop)
    except StopRequested:
        observers.send(replace(outcome, reason=STOP_REQUESTED))
        raise
    outcome = replace(outcome, metrics=metrics)
    observers.send(outcome)
    run = prepared.run
    return TrainResult(metrics, run.best, run.last, run.path, prepared.splits.names, outcome)


@contextmanager
def _run_folder(prepared: Prepared) -> Iterator[None]:
    """Claim the run folder, and leave in it how the run ended."""
    run, resumed = prepared.run, prepared.resumed
    if not prepared.group.is_first:
        yield
        return
    with run.lock():
        run.begin(_identity(run, resumed), launch=launch_id())
        try:
            yield
        except OnelookError as problem:
            state = "stopped" if isinstance(problem, StopRequested) else "failed"
            run.write_status(state, exit_code=problem.exit_code, message=problem.message)
            raise
        run.write_status("finished", exit_code=0)
        if not prepared.settings.noreport:
            report_finished_run(run)


def _identity(run: RunDir, resumed: Resumed | None) -> RunStatus:
    """Which run it is: that of the checkpoint; that which this launch has begun before a restart; or a new one."""
    record = run.record
    if resumed is not None:
        return replace(record, run_id=run_id_in(resumed.checkpoint.document))
    return record if launch_id() and record.launch == launch_id() else new_run()


def _write_beginning(prepared: Prepared) -> None:
    run = prepared.run
    run.weights.mkdir(exist_ok=True)
    write_text_atomic(run.settings, dump_yaml(prepared.stored_settings()))
    write_ledgers(prepared.splits, run.ledger)
    spec = prepared.splits.spec
    if spec.chosen:
        run.division.mkdir(exist_ok=True)
        write_split(run.division, spec, spec.chosen, final=run.division)
    if not prepared.settings.noplots and prepared.resumed is None:
        draw_data(prepared)


def _fit(prepared: Prepared, evaluator: Evaluator, observers: Observers, stop: StopSignal) -> FitEnd:
    settings, run, group = prepared.settings, prepared.run, prepared.group
    schedule = Schedule(settings, len(prepared.splits.scans["train"].index))
    state = _state(prepared, schedule)
    keeper: Keeper = NoCheckpoints()
    if group.is_first:
        results = ResultsCsv(run.results, state.progress.history, state.loss.columns, prepared.model.branches)
        observers.add_first(results, SpeedCsv(run.speeds))
        keeper = CheckpointKeeper(
            run,
            settings,
            common=prepared.common_document(),
            observers=observers,
            resting=group.resting,
            trackers=lambda: known_identities(run.path, TRACKER_NAMES),
        )
    batches = group.together(
        lambda: training_batches(prepared, state.progress, rank=group.rank, world_size=group.world_size, stop=stop)
    )
    frozen = tuple(frozen_rows(prepared.model, settings.freeze))
    trainer = Trainer(
        state,
        batches,
        schedule=schedule,
        compute=ComputeOptions(prepared.device, prepared.amp, prepared.model.max_stride, frozen),
        evaluator=evaluator,
        keeper=keeper,
        observers=observers,
        stop=stop,
        group=group,
    )
    observers.send(_fit_start(prepared, schedule, state, observers.control))
    dropped = DroppedBoxes()
    observers.add_first(dropped)
    with closing(batches):
        outcome = trainer.fit()
    counts = group.gather_values(dropped.counts)
    if group.is_first:
        warn_of_dropped_boxes(counts)
    return outcome


def _state(prepared: Prepared, schedule: Schedule) -> TrainState:
    settings, model = prepared.settings, prepared.model
    stop_learning(frozen_rows(model, settings.freeze))
    state = TrainState(
        model=model,
        ema=ModelEma(model, total_updates=schedule.total_updates),
        optimizer=create_optimizer(model, settings, schedule.weight_decay),
        scaler=torch.amp.GradScaler(prepared.device.type, enabled=prepared.amp == torch.float16),
        loss=create_loss(model, settings),
        progress=Progress(),
    )
    if prepared.resumed is not None:
        state.restore(prepared.resumed.checkpoint)
    _cut_batches(state, schedule, prepared.group)
    state.progress.val_batch = validation_batch_size(prepared)
    if settings.sync_bn:
        synchronise_normalisation(model, prepared.group)
    return state


def _cut_batches(state: TrainState, schedule: Schedule, group: ProcessGroup) -> None:
    """Settle in how many shards batches are computed; a resumed run keeps its number if the processes can share it."""
    before = state.progress.shards
    wanted = max(before, shards_for(schedule.places_in(0), schedule.settings.micro_batch, group.world_size))
    state.progress.shards = math.lcm(wanted, group.world_size)
    if before not in (0, state.progress.shards) and group.is_first:
        logger.warning(
            "batches are computed in %d parts instead of %d: the result is equally good, but not bit for bit the same",
            state.progress.shards,
            before,
        )


def _fit_start(prepared: Prepared, schedule: Schedule, state: TrainState, control: RunControl) -> FitStart:
    scans = prepared.splits.scans
    parameters = sum(parameter.numel() for parameter in prepared.model.parameters())
    return FitStart(
        settings=prepared.settings,
        run_folder=prepared.run.path,
        names=prepared.splits.names,
        num_train_images=len(scans["train"].index),
        num_val_images=len(scans["val"].index),
        batches_per_epoch=schedule.batches_per_epoch,
        start_epoch=state.progress.epoch,
        start_batch=state.progress.batch,
        device=describe_device(prepared.device, prepared.group.world_size),
        model_summary=f"{prepared.label}, {parameters:,} parameters",
        indexes={split: scan.index for split, scan in scans.items()},
        control=control,
        weight_decay=schedule.weight_decay,
        loss_columns=state.loss.columns,
    )


def _measure_best(prepared: Prepared, evaluator: Evaluator, outcome: FitEnd, stop: StopSignal) -> DetectionMetrics:
    """Load the best weights from their file, as a user will, and measure them once more."""
    group, run = prepared.group, prepared.run
    best = group.share_checkpoint(lambda: load_checkpoint(run.best))
    model = detector_of(best, run.best, prepared.device)
    evaluation = evaluator.run(model, stop=stop)
    if group.is_first:
        write_metrics(evaluation, prepared.splits.names, run)
        if not prepared.settings.noplots:
            index = prepared.splits.scans["val"].index
            draw_evaluation(run, index, evaluation, prepared.splits.names)
            draw_results(run, outcome.history)
            write_examples(run.examples, index, evaluation.detections, evaluation.metrics)
    if is_coco(prepared.splits.names):
        _measure_as_coco(prepared, evaluator.with_iou_thres(COCO_IOU_THRES).run(model, stop=stop))
    return evaluation.metrics


def _measure_as_coco(prepared: Prepared, evaluation: Evaluation) -> None:
    """Write what COCO's own tools read, and say the numbers that papers compare."""
    if not prepared.group.is_first:
        return
    write_coco(prepared.splits.scans["val"].index, evaluation.detections, prepared.splits.names, prepared.run)
    found = evaluation.metrics
    logger.info(
        "COCO's numbers, NMS at IoU %g: AP %.4f, AP50 %.4f, AP75 %.4f, small %.4f, medium %.4f, large %.4f",
        COCO_IOU_THRES,
        *(found.map50_95, found.map50, found.map75, found.map_small, found.map_medium, found.map_large),
    )
