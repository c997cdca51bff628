"""Builds the trainer of a run from data, model and settings, and lets it train."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import replace

from onelook.callbacks.dropped_boxes import DroppedBoxes, warn_of_dropped_boxes
from onelook.callbacks.results_csv import ResultsCsv, SpeedCsv, columns_of
from onelook.callbacks.trackers.identity import known_identities
from onelook.data.splits import Splits
from onelook.inference.evaluator import Evaluator
from onelook.models.count import summarise
from onelook.processes.device import describe_device
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TRACKER_NAMES
from onelook.training.callback import FitEnd, FitStart, Observers, RunControl
from onelook.training.checkpoint_keeper import CheckpointKeeper, Keeper
from onelook.training.loading import training_batches, training_cache
from onelook.training.network_passes import compute_options
from onelook.training.run import Run, common_document
from onelook.training.run_model import RunModel
from onelook.training.run_state import change_length, state_of
from onelook.training.schedule import Schedule
from onelook.training.state import TrainState
from onelook.training.teacher import Teacher
from onelook.training.time_budget import TimeBudget
from onelook.training.trainer import Trainer

logger = logging.getLogger(__name__)


def fit(
    data: Splits,
    model: RunModel,
    run: Run,
    evaluator: Evaluator,
    *,
    observers: Observers,
    stop: StopSignal,
    teacher: Teacher | None = None,
) -> FitEnd:
    """Train until the end of the schedule, or until `stop` is set; checkpoints and rows of results are written.

    Args:
        observers: notified of what happens; those of process 0 write.
        teacher: what the model also learns from, if there is one.

    Raises:
        OnelookError: see `Trainer.fit`.
    """
    settings, group = run.settings, run.group
    before = run.resumed.checkpoint.document["progress"] if run.resumed else {}
    schedule = Schedule(settings, len(data.scans["train"].index), tuple(before.get("turns", ())))
    adapters = teacher.adapters(settings.seed) if teacher is not None else None
    state = state_of(model, run, schedule, adapters=adapters)
    keeper = _keeper(data, model, run, state, observers=observers, teacher=teacher)
    cache = group.together(lambda: training_cache(data, model, run, stop))
    compute = compute_options(settings, model)
    budget = TimeBudget(settings.time, began=run.began, before=state.progress.seconds)
    start = _fit_start(data, model, run, schedule, state, observers.control)
    observers.send(replace(start, loss_columns=(*start.loss_columns, *_columns_of(teacher))))
    dropped = DroppedBoxes()
    observers.add_first(dropped)
    began = time.perf_counter()
    while True:
        batches = training_batches(data, model, run, state.progress, cache=cache)
        trainer = Trainer(
            state,
            batches,
            schedule=schedule,
            compute=compute,
            evaluator=evaluator,
            keeper=keeper,
            observers=observers,
            stop=stop,
            group=group,
            teacher=teacher,
            budget=budget,
        )
        with closing(batches):
            outcome = trainer.fit()
        if outcome is not None:
            break
        schedule = change_length(model, run, state, schedule)
    counts = group.gather_values(dropped.counts)
    if group.is_first:
        warn_of_dropped_boxes(counts)
    return replace(outcome, seconds=time.perf_counter() - began)


def _keeper(
    data: Splits, model: RunModel, run: Run, state: TrainState, *, observers: Observers, teacher: Teacher | None
) -> Keeper:
    """What writes the checkpoints, in process 0; there, `observers` get what writes the tables, too."""
    folder, group = run.folder, run.group
    if not group.is_first:
        return Keeper()
    columns = columns_of(state.loss.columns, model.model.branches, _columns_of(teacher))
    observers.add_first(ResultsCsv(folder.results, state.progress.history, columns), SpeedCsv(folder.speeds))
    return CheckpointKeeper(
        folder,
        run.settings,
        common={**common_document(data, model, run), **(teacher.document() if teacher is not None else {})},
        observers=observers,
        resting=group.resting,
        trackers=lambda: known_identities(folder.path, TRACKER_NAMES),
    )


def _columns_of(teacher: Teacher | None) -> tuple[str, ...]:
    return teacher.columns if teacher is not None else ()


def _fit_start(
    data: Splits, model: RunModel, run: Run, schedule: Schedule, state: TrainState, control: RunControl
) -> FitStart:
    scans = data.scans
    return FitStart(
        settings=schedule.settings,
        run_folder=run.folder.path,
        names=data.names,
        num_train_images=len(scans["train"].index),
        num_val_images=len(scans["val"].index),
        batches_per_epoch=schedule.batches_per_epoch,
        start_epoch=state.progress.epoch,
        start_batch=state.progress.batch,
        device=describe_device(model.device, run.group.world_size),
        model_summary=f"{model.label}, {summarise(state.ema.module, imgsz=run.settings.imgsz)}",  # type: ignore[arg-type]
        indexes={split: scan.index for split, scan in scans.items()},
        control=control,
        weight_decay=schedule.weight_decay,
        loss_columns=state.loss.columns,
    )
