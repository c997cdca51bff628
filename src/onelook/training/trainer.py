"""The training loop, a pure function of dataset, settings and seed:

    while epoch < epochs and not stopped early:                # fit
        while batches are left in this epoch:                  # train_epoch; starts at any batch after a resume
            plan = schedule.at(step)                           # train_step: learning rates, momentum, whether to update
            gradient += loss(model(images), targets)           # in micro-batches, mixed precision, summed over ranks
            if plan.is_update:
                clip the gradient, step the optimizer, average the weights
                save if a checkpoint is due; stop if asked to
        metrics = evaluate(averaged weights)                   # finish_epoch
        save last, and best if the fitness is higher
    save the final state

Console, files, plots and trackers are callbacks: they watch, and may ask for an early end, see `RunControl`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from onelook.errors import StopRequested
from onelook.inference.evaluator import Evaluation, Evaluator
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.structures.batch import Batch
from onelook.structures.metrics import DetectionMetrics
from onelook.structures.results import branches_row, metrics_row
from onelook.training.batch_gradient import BatchGradient
from onelook.training.callback import STOP_REQUESTED, EpochEnd, FitEnd, Observers, StepEnd
from onelook.training.checkpoint_keeper import Keeper
from onelook.training.compiled import compiled, compiled_for
from onelook.training.freeze import set_training_mode
from onelook.training.network_passes import ComputeOptions
from onelook.training.schedule import Schedule
from onelook.training.state import TrainState
from onelook.training.teacher import Teacher
from onelook.training.time_budget import TimeBudget
from onelook.training.training_step import TrainingStep


class Trainer:
    """Trains what `state` holds, from where it stands, to the end of the schedule.

    Args:
        state: changed in place.
        batches: all batches from where `state` stands to the end of the run.
        schedule: learning rates and updates by step, and the settings of the run.
        evaluator: measures the averaged model after each epoch.
        stop: checked after every update.
        group: the processes that train together; `batches` gives this one's share.
        teacher: a detector that the model also learns from.
        budget: decides after every epoch how many epochs the run will have; None keeps them.
    """

    def __init__(
        self,
        state: TrainState,
        batches: Iterator[Batch],
        *,
        schedule: Schedule,
        compute: ComputeOptions,
        evaluator: Evaluator,
        keeper: Keeper,
        observers: Observers,
        stop: StopSignal,
        group: ProcessGroup | None = None,
        teacher: Teacher | None = None,
        budget: TimeBudget | None = None,
    ) -> None:
        self.state = state
        self.batches = batches
        self.schedule = schedule
        self.settings = schedule.settings
        self.evaluator = evaluator
        self.keeper = keeper
        self.observers = observers
        self.stop = stop
        self.budget = TimeBudget() if budget is None else budget
        self.group = ProcessGroup() if group is None else group
        gradient = BatchGradient(state, self.group, schedule=schedule, compute=compute, teacher=teacher)
        self.step = TrainingStep(gradient)
        self._compiled_average = compiled(state.ema.module, compute.backend) if compute.backend else None
        self._columns = self.step.gradient.columns
        self._loss_sums = self._sums_so_far()
        self._is_stop_asked = False
        self._epoch_begun = time.perf_counter()

    def fit(self) -> FitEnd | None:
        """Train until the last epoch is done, patience runs out, or a signal or an observer asks for an end.

        Returns:
            How the run ended; None where its length has changed: a trainer with the schedule of that length continues.

        Raises:
            NumericsError: the loss is not finite, update after update.
            RunFolderError: the final checkpoint could not be written.
        """
        begun = time.perf_counter()
        progress, control = self.state.progress, self.observers.control
        reason = "finished"
        try:
            while progress.epoch < self.settings.epochs and not progress.stopped_early:
                if len(progress.length_changes) > len(self.schedule.length_changes):
                    return None
                self.group.check(self.stop)
                self.train_epoch()
                self.finish_epoch()
                progress.stopped_early |= self.group.any(bool(control.reason))
            if progress.stopped_early:
                if progress.best_epoch < 0:
                    self._validate_late()
                reason = control.reason or "early stop"
        except StopRequested:
            self._settle()
            reason = STOP_REQUESTED
        self.keeper.save(self.state)
        self.keeper.raise_failure()
        return self._fit_end(reason, begun)

    def train_epoch(self) -> None:
        """Train on the batches that this epoch still has; the last one is always followed by an update."""
        self._epoch_begun = time.perf_counter()
        self.budget.begin_epoch(self.state.progress)
        set_training_mode(self.state.model, self.step.compute.frozen)
        self._loss_sums = self._sums_so_far()
        while self.state.progress.batch < self.schedule.batches_per_epoch:
            updated = self.train_step(next(self.batches))
            if updated:
                self.group.check(self.stop, voted=self._is_stop_asked)
                if self.keeper.is_due(epoch_ended=False):
                    self._settle()
                    self.keeper.save(self.state)
        self._settle()
        self.group.rest()

    def train_step(self, batch: Batch) -> bool:
        """Forward, loss and backward for one batch, and an update if the schedule has one here; whether it had one."""
        progress = self.state.progress
        plan = self.schedule.at(progress.step)
        losses = self.step.run(batch, plan, stop=self.stop)
        self._is_stop_asked = losses.is_stop_asked
        self._loss_sums += losses.terms
        progress.batch += 1
        progress.step += 1
        self.observers.send(
            StepEnd(
                epoch=progress.epoch,
                batch=progress.batch - 1,
                step=progress.step,
                mean_losses=self._loss_sums / progress.batch,
                learning_rates=(plan.lr_bias, plan.lr, plan.lr),
                num_images=self.schedule.images_in(progress.batch - 1),
                num_boxes=len(batch.targets),
                imgsz=losses.imgsz,
                num_dropped_boxes=sum(info.num_dropped_boxes for info in batch.infos),
            )
        )
        return plan.is_update

    def finish_epoch(self) -> None:
        """Validate, write down, choose the best, decide whether to continue, and save."""
        state, progress = self.state, self.state.progress
        trained = time.perf_counter()
        is_last = progress.epoch + 1 == self.settings.epochs
        evaluation = self._validate() if is_last or not self.settings.noval else None
        validated = time.perf_counter()
        row = self._row(evaluation)
        metrics = evaluation.metrics if evaluation is not None else None
        is_best = evaluation is not None and self._is_best(evaluation, progress.epoch)
        progress.history.append(row)
        progress.stopped_early = self._is_patience_over()
        epoch = progress.epoch
        progress.epoch, progress.batch, progress.loss_sums = epoch + 1, 0, []
        self._settle_length()
        if metrics is not None and is_best:
            self.keeper.remember_best(state, metrics_document(metrics, epoch))
        self.keeper.save_numbered(state, epoch)
        if self.keeper.is_due(epoch_ended=True):
            self.keeper.save(state)
        detections = evaluation.detections if evaluation is not None else ()
        seconds = trained - self._epoch_begun, validated - trained
        length = progress.length_changes[-1][1] if progress.length_changes else self.settings.epochs
        self.observers.send(EpochEnd(epoch, row, metrics, is_best, *seconds, detections, epochs=length))

    def _is_best(self, evaluation: Evaluation, epoch: int) -> bool:
        """Record the results of `epoch`; whether they are the best so far."""
        progress, metrics = self.state.progress, evaluation.metrics
        class_ap = np.zeros(self.state.loss.num_classes)
        class_ap[metrics.class_ids] = metrics.class_ap
        progress.class_ap, progress.branch = class_ap.tolist(), evaluation.branch
        is_best = metrics.fitness > progress.best_fitness
        if is_best:
            progress.best_fitness, progress.best_epoch = metrics.fitness, epoch
        return is_best

    def _validate_late(self) -> None:
        """Do the validation that was deferred to an epoch that does not come: a run ends with its best weights."""
        evaluation, epoch = self._validate(), self.state.progress.epoch - 1
        self.state.progress.history[-1].update(finite(validation_row(evaluation)))
        if self._is_best(evaluation, epoch):
            self.keeper.remember_best(self.state, metrics_document(evaluation.metrics, epoch))

    def _settle_length(self) -> None:
        """Let the time budget decide how many epochs the run has, and record the decision in its state."""
        progress, epochs = self.state.progress, self.settings.epochs
        length = self.group.first(lambda: self.budget.length_after(progress, epochs))
        if length != epochs:
            progress.length_changes.append([progress.epoch, length])

    def _validate(self) -> Evaluation:
        model = self.state.ema.module
        forward = None
        if self._compiled_average is not None:
            shapes = self.evaluator.common_shapes
            forward = compiled_for(model, self._compiled_average, shapes=shapes, group=self.group)
        return self.evaluator.run(model, loss=self.state.loss, stop=self.stop, forward=forward)  # type: ignore[arg-type]

    def _row(self, evaluation: Evaluation | None) -> dict[str, float]:
        progress = self.state.progress
        plan = self.schedule.at(progress.step - 1)
        row: dict[str, float] = {"epoch": progress.epoch}
        for name, total in zip(self._columns, progress.loss_sums, strict=True):
            row[f"train/{name}_loss"] = total / self.schedule.batches_per_epoch
        if evaluation is not None:
            row |= validation_row(evaluation)
        return finite(row | {"x/lr0": plan.lr_bias, "x/lr1": plan.lr, "x/lr2": plan.lr})

    def _is_patience_over(self) -> bool:
        progress, patience = self.state.progress, self.settings.patience
        return patience > 0 and progress.best_epoch >= 0 and progress.epoch - progress.best_epoch >= patience

    def _sums_so_far(self) -> Tensor:
        """(C,) sums of the loss terms of the current epoch, on the device."""
        device, sums = self.step.compute.device, self.state.progress.loss_sums or [0.0] * len(self._columns)
        return torch.tensor(sums, dtype=widest_float(device), device=device)

    def _settle(self) -> None:
        """Bring the progress up to date with what the device has done; until then nothing waits for it.

        Raises:
            NumericsError: the last update was one too many that was not finite.
        """
        self.step.update.settle()
        self.budget.note(self.state.progress)
        if self.state.progress.batch:
            self.state.progress.loss_sums = self._loss_sums.tolist()

    def _fit_end(self, reason: str, begun: float) -> FitEnd:
        progress = self.state.progress
        return FitEnd(
            reason=reason,
            epochs_done=progress.epoch,
            best_epoch=progress.best_epoch,
            best_fitness=progress.best_fitness,
            history=tuple(progress.history),
            seconds=time.perf_counter() - begun,
        )


def widest_float(device: torch.device) -> torch.dtype:
    """The most precise floating type of the device."""
    return torch.float32 if device.type == "mps" else torch.float64


def finite(row: dict[str, float]) -> dict[str, float]:
    """`row` without the numbers that are not finite, as where the loss of one batch was not: checkpoints have none."""
    return {name: value for name, value in row.items() if math.isfinite(value)}


def validation_row(evaluation: Evaluation) -> dict[str, float]:
    """The columns of `results.csv` that a validation fills."""
    row = metrics_row(evaluation.metrics)
    if len(evaluation.by_branch) > 1:
        row |= branches_row(evaluation.by_branch)
    return row | {f"val/{name}_loss": value for name, value in evaluation.losses.items()}


def metrics_document(metrics: DetectionMetrics, epoch: int) -> dict[str, float]:
    """The headline numbers of an evaluation, for the document of a checkpoint."""
    names = ("precision", "recall", "map50", "map50_95", "fitness")
    return {"epoch": epoch, **{name: getattr(metrics, name) for name in names}}
