"""Builds the trainer of a run from data, model and settings, and lets it train."""

from __future__ import annotations

import logging
import math
import time
from contextlib import closing
from dataclasses import replace

import torch
from torch import nn

from onelook.callbacks.dropped_boxes import DroppedBoxes, warn_of_dropped_boxes
from onelook.callbacks.results_csv import ResultsCsv, SpeedCsv
from onelook.callbacks.trackers.identity import known_identities
from onelook.inference.evaluator import Evaluator
from onelook.losses.distillation import COLUMNS
from onelook.models.count import summarise
from onelook.processes.device import describe_device
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.loading import training_batches, training_cache, validation_batch_size
from onelook.recipes.preparation import Run, common_document
from onelook.recipes.run_model import RunModel
from onelook.recipes.splits import Splits
from onelook.recipes.teacher import Taught
from onelook.settings.train import TRACKER_NAMES
from onelook.training.batch_gradient import ComputeOptions, shards_for
from onelook.training.callback import FitEnd, FitStart, Observers, RunControl
from onelook.training.checkpoint_keeper import CheckpointKeeper, Keeper, NoCheckpoints
from onelook.training.ema import ModelEma
from onelook.training.families import create_loss
from onelook.training.freeze import frozen_rows, stop_learning
from onelook.training.optimizer import create_optimizer
from onelook.training.schedule import Schedule
from onelook.training.state import Progress, TrainState
from onelook.training.sync_norm import synchronise_normalisation
from onelook.training.time_budget import TimeBudget
from onelook.training.trainer import LENGTH_CHANGED, Trainer

logger = logging.getLogger(__name__)


def fit(
    data: Splits,
    model: RunModel,
    run: Run,
    evaluator: Evaluator,
    *,
    observers: Observers,
    stop: StopSignal,
    taught: Taught | None = None,
) -> FitEnd:
    """Train until the end of the schedule, or until `stop` is set; checkpoints and rows of results are written.

    Args:
        data, model, run: what is trained on, what learns, and how.
        evaluator: measures the averaged model after each epoch.
        observers: notified of what happens; those of process 0 write.
        stop: asked after every update.
        taught: the teacher that the model learns from besides, if there is one.

    Raises:
        OnelookError: see `Trainer.fit`.
    """
    settings, group = run.settings, run.group
    before = run.resumed.checkpoint.document["progress"] if run.resumed else {}
    schedule = Schedule(settings, len(data.scans["train"].index), tuple(before.get("turns", ())))
    state = _state(model, run, schedule)
    keeper = _keeper(data, model, run, state, observers=observers, taught=taught)
    cache = group.together(lambda: training_cache(data, model, run, stop))
    frozen = tuple(frozen_rows(model.model, settings.freeze))
    compute = ComputeOptions(model.device, model.amp, model.model.max_stride, frozen)
    budget = TimeBudget(settings.time, began=run.began, before=state.progress.seconds)
    start = _fit_start(data, model, run, schedule, state, observers.control)
    observers.send(replace(start, loss_columns=(*start.loss_columns, *_columns_of(taught))))
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
            teacher=taught.teacher if taught is not None else None,
            budget=budget,
        )
        with closing(batches):
            outcome = trainer.fit()
        if outcome.reason != LENGTH_CHANGED:
            break
        schedule = _change_length(model, run, state, schedule)
    counts = group.gather_values(dropped.counts)
    if group.is_first:
        warn_of_dropped_boxes(counts)
    return replace(outcome, seconds=time.perf_counter() - began)


def _keeper(
    data: Splits, model: RunModel, run: Run, state: TrainState, *, observers: Observers, taught: Taught | None
) -> Keeper:
    """What writes the checkpoints, in process 0; there, `observers` get what writes the tables, too."""
    folder, group = run.folder, run.group
    if not group.is_first:
        return NoCheckpoints()
    history, branches = state.progress.history, model.model.branches
    results = ResultsCsv(folder.results, history, state.loss.columns, branches, _columns_of(taught))
    observers.add_first(results, SpeedCsv(folder.speeds))
    return CheckpointKeeper(
        folder,
        run.settings,
        common={**common_document(data, model, run), **(taught.document() if taught is not None else {})},
        observers=observers,
        resting=group.resting,
        trackers=lambda: known_identities(folder.path, TRACKER_NAMES),
    )


def _columns_of(taught: Taught | None) -> tuple[str, ...]:
    return COLUMNS if taught is not None else ()


def _change_length(model: RunModel, run: Run, state: TrainState, schedule: Schedule) -> Schedule:
    """The schedule of the run's new length, which the average of the weights and the loss follow, too."""
    changed = replace(schedule, turns=tuple(state.progress.turns))
    if run.group.is_first:
        logger.info("the time allows %d epochs, not %d", changed.settings.epochs, schedule.settings.epochs)
    loss = create_loss(model.model, run.settings, closing=changed.closing_share)
    loss.load_state_dict(state.loss.state_dict())
    state.loss = loss
    state.ema.plan_for(changed.total_updates)
    return changed


def _state(model: RunModel, run: Run, schedule: Schedule) -> TrainState:
    settings, network = run.settings, model.model
    stop_learning(frozen_rows(network, settings.freeze))
    state = TrainState(
        model=network,
        ema=ModelEma(network, total_updates=schedule.total_updates),
        optimizer=create_optimizer(network, settings, schedule.weight_decay),
        scaler=torch.amp.GradScaler(model.device.type, enabled=model.amp == torch.float16),
        loss=create_loss(network, settings, closing=schedule.closing_share),
        progress=Progress(),
    )
    if run.resumed is not None:
        state.restore(run.resumed.checkpoint)
    _cut_batches(state, schedule, run.group)
    state.progress.val_batch = validation_batch_size(run)
    if settings.sync_bn:
        synchronise_normalisation(network, run.group)
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


def _model_summary(model: nn.Module, label: str, imgsz: int) -> str:
    numbers = summarise(model, imgsz=imgsz)  # type: ignore[arg-type]
    size = f"{numbers.gflops:.1f} GFLOPs at {imgsz} x {imgsz}"
    return f"{label}, {numbers.layers} layers, {numbers.parameters:,} parameters, {size}"


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
        model_summary=_model_summary(state.ema.module, model.label, run.settings.imgsz),
        indexes={split: scan.index for split, scan in scans.items()},
        control=control,
        weight_decay=schedule.weight_decay,
        loss_columns=state.loss.columns,
    )
