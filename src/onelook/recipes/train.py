"""Training: the table of contents of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from onelook.callbacks.results_csv import ResultsCsv, SpeedCsv
from onelook.callbacks.user_file import load_callbacks
from onelook.engine.callback import Callback, FitEnd, FitStart, Observers, RunControl
from onelook.engine.checkpoint_keeper import CheckpointKeeper
from onelook.engine.device import describe_device
from onelook.engine.ema import ModelEma
from onelook.engine.evaluator import Evaluator
from onelook.engine.freeze import frozen_rows, stop_learning
from onelook.engine.optimizer import create_optimizer
from onelook.engine.schedule import Schedule
from onelook.engine.state import Progress, TrainState
from onelook.engine.stop_signal import StopSignal
from onelook.engine.trainer import STOP_REQUESTED, Arithmetic, Attendants, Trainer
from onelook.engine.weights import load_detector
from onelook.files.atomic import write_text_atomic
from onelook.files.yaml import dump_yaml
from onelook.losses.detection_loss import DetectionLoss
from onelook.recipes.loading import training_batches, validation_evaluator
from onelook.recipes.pictures import draw_data, draw_evaluation, draw_results
from onelook.recipes.preparation import Prepared, prepare
from onelook.recipes.splits import write_ledgers
from onelook.recipes.validate import write_metrics
from onelook.structures.metrics import DetectionMetrics


@dataclass(frozen=True)
class TrainResult:
    """What a finished run gives.

    Attributes:
        metrics: of the best weights on the validation split.
        best: checkpoint for inference.
        last: checkpoint that the run can be extended from.
        run_folder: where everything is.
        names: of the classes.
        outcome: how the run ended.
    """

    metrics: DetectionMetrics
    best: Path
    last: Path
    run_folder: Path
    names: tuple[str, ...]
    outcome: FitEnd


def train(given: Mapping[str, Any], *, file: Path | None = None, callbacks: Sequence[Callback] = ()) -> TrainResult:
    """Train a detector, or go on training one.

    Args:
        given: settings by name; see `TrainSettings`.
        file: YAML file with more settings, weaker than `given`.
        callbacks: observers of the run.

    Raises:
        OnelookError: a setting, the data or the model cannot be used; nothing has been written then.
        StopRequested: Ctrl-C or SIGTERM; the run is saved and can be resumed.
    """
    with StopSignal() as stop:
        observers = Observers([*callbacks, *load_callbacks(given.get("callbacks", ()))])
        prepared = prepare(given, file, stop)
        with prepared.run.lock():
            _write_beginning(prepared)
            evaluator = validation_evaluator(prepared)
            outcome = _fit(prepared, evaluator, observers, stop)
            if outcome.reason == STOP_REQUESTED:
                observers.send(outcome)
                stop.check()
            metrics = _measure_best(prepared, evaluator, outcome)
            outcome = replace(outcome, metrics=metrics)
            observers.send(outcome)
    run = prepared.run
    return TrainResult(metrics, run.best, run.last, run.path, prepared.splits.names, outcome)


def _write_beginning(prepared: Prepared) -> None:
    run = prepared.run
    run.weights.mkdir(exist_ok=True)
    write_text_atomic(run.settings, dump_yaml(prepared.stored_settings()))
    write_ledgers(prepared.splits, run.ledger)
    if not prepared.settings.noplots and prepared.resumed is None:
        draw_data(prepared)


def _fit(prepared: Prepared, evaluator: Evaluator, observers: Observers, stop: StopSignal) -> FitEnd:
    settings, run = prepared.settings, prepared.run
    schedule = Schedule(settings, len(prepared.splits.scans["train"].index))
    state = _state(prepared, schedule)
    observers.add_first(ResultsCsv(run.results, state.progress.history), SpeedCsv(run.speeds))
    keeper = CheckpointKeeper(run, settings, common=prepared.common_document(), observers=observers)
    batches = training_batches(prepared, state.progress)
    frozen = tuple(frozen_rows(prepared.model, settings.freeze))
    trainer = Trainer(
        state,
        batches,
        schedule=schedule,
        arithmetic=Arithmetic(prepared.device, prepared.amp, prepared.model.max_stride, frozen),
        attendants=Attendants(evaluator, keeper, observers, stop),
    )
    observers.send(_fit_start(prepared, schedule, state.progress, observers.control))
    with closing(batches):
        return trainer.fit()


def _state(prepared: Prepared, schedule: Schedule) -> TrainState:
    settings, model = prepared.settings, prepared.model
    stop_learning(frozen_rows(model, settings.freeze))
    loss = DetectionLoss(
        model.anchor_grid,
        num_classes=model.num_classes,
        imgsz=settings.imgsz,
        hyperparameters=settings,
        auto_balance=settings.auto_balance,
    )
    state = TrainState(
        model=model,
        ema=ModelEma(model, total_updates=schedule.total_updates),
        optimizer=create_optimizer(model, settings, schedule.weight_decay),
        scaler=torch.amp.GradScaler(prepared.device.type, enabled=prepared.amp == torch.float16),
        loss=loss,
        progress=Progress(),
    )
    if prepared.resumed is not None:
        state.restore(prepared.resumed.checkpoint)
    return state


def _fit_start(prepared: Prepared, schedule: Schedule, progress: Progress, control: RunControl) -> FitStart:
    scans = prepared.splits.scans
    parameters = sum(parameter.numel() for parameter in prepared.model.parameters())
    return FitStart(
        settings=prepared.settings,
        run_folder=prepared.run.path,
        names=prepared.splits.names,
        num_train_images=len(scans["train"].index),
        num_val_images=len(scans["val"].index),
        batches_per_epoch=schedule.batches_per_epoch,
        start_epoch=progress.epoch,
        start_batch=progress.batch,
        device=describe_device(prepared.device),
        model_summary=f"{prepared.label}, {parameters:,} parameters",
        indexes={split: scan.index for split, scan in scans.items()},
        control=control,
    )


def _measure_best(prepared: Prepared, evaluator: Evaluator, outcome: FitEnd) -> DetectionMetrics:
    """Load the best weights from their file, as a user will, and measure them once more."""
    model = load_detector(prepared.run.best, prepared.device)
    evaluation = evaluator.run(model)
    write_metrics(evaluation, prepared.splits.names, prepared.run.metrics)
    if not prepared.settings.noplots:
        draw_evaluation(prepared.run, prepared.splits.scans["val"].index, evaluation, prepared.splits.names)
        draw_results(prepared.run, outcome.history)
    return evaluation.metrics
