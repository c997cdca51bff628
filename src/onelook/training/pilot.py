"""How many epochs a run with a budget of time begins with: its first steps are tried on a copy of the model."""

from __future__ import annotations

import logging
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from time import monotonic

from onelook.data.splits import Splits
from onelook.errors import SettingsError, counted
from onelook.processes.stop_signal import StopSignal
from onelook.training.eta import duration
from onelook.training.loading import training_batches
from onelook.training.run import Run
from onelook.training.run_model import RunModel
from onelook.training.schedule import Schedule
from onelook.training.state import Progress
from onelook.training.teacher import teacher_of
from onelook.training.time_budget import epochs_that_fit
from onelook.training.training_step import TrainingStep

logger = logging.getLogger(__name__)

PILOT_STEPS = 8
PILOT_SHARE = 0.05  # of the budget
VALIDATED_IMAGE = 0.5  # of the time that an image takes in training


def epochs_within_budget(data: Splits, model: RunModel, run: Run, *, stop: StopSignal) -> int:
    """Epochs that `time` allows, as far as the first steps can tell; the run corrects it after its first epochs.

    Raises:
        SettingsError: there is no time for a single epoch.
    """
    settings, scans = run.settings, data.scans
    per_image = _seconds_per_image(data, model, run, stop)
    one_epoch = per_image * (len(scans["train"].index) + VALIDATED_IMAGE * len(scans["val"].index))
    epochs = epochs_that_fit(3600 * settings.time, monotonic() - run.began, 0, one_epoch)
    one_epoch, epochs = run.group.first(lambda: (one_epoch, epochs))
    if epochs < 1:
        needed = (monotonic() - run.began + 2 * one_epoch) / 3600
        raise SettingsError(
            f"`time: {settings.time:g}` hours are not enough for one epoch, which takes about {duration(one_epoch)}",
            hint=f"use `--time {needed:.2g}` or more, a smaller `--imgsz`, or a smaller model",
        )
    if run.group.is_first:
        logger.info("%g hours: about %s of %s", settings.time, counted(epochs, "epoch"), duration(one_epoch))
    return epochs


def _seconds_per_image(data: Splits, model: RunModel, run: Run, stop: StopSignal) -> float:
    """Of a training step that is really made, loading included; the first one, which warms everything up, left out."""
    group = run.group
    optimizer = "AdamW" if run.settings.optimizer == "auto" else run.settings.optimizer  # settled by the epochs
    settings = run.settings.model_copy(update={"sync_bn": False, "optimizer": optimizer})
    copy = replace(model, model=deepcopy(model.model)).on_device()
    schedule = Schedule(settings, len(data.scans["train"].index))
    step = TrainingStep.of_trial(copy, schedule, group, teacher=teacher_of(copy, run))
    progress = step.state.progress
    began, images = monotonic(), 0
    with closing(training_batches(data, copy, replace(run, settings=settings), Progress())) as batches:
        for number in range(min(PILOT_STEPS, schedule.batches_per_epoch)):
            progress.batch = progress.step = number
            step.run(next(batches), replace(schedule.at(number), is_update=True))
            step.update.settle()  # waits for the device
            group.check(stop)
            if number == 0 and schedule.batches_per_epoch > 1:
                began = monotonic()
                continue
            images += schedule.images_in(number)
            if group.any(monotonic() - began > 3600 * settings.time * PILOT_SHARE):
                break
    return (monotonic() - began) / images
