"""The events of a run and the observers that receive them. Observers watch; all they can do is end the run."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onelook.settings.train import TrainSettings
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections
from onelook.structures.metrics import DetectionMetrics

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

STOP_REQUESTED = "stop requested"
"""Reason of a run that a signal ended: it is saved and can be resumed."""


class RunControl:
    """Lets an observer end the run that it watches.

    Attributes:
        reason: why the run should end; empty if it should not.
    """

    def __init__(self) -> None:
        self.reason = ""

    def stop_training(self, reason: str) -> None:
        """End the run after the current epoch, as if its patience had run out: validated, plotted and saved.

        Args:
            reason: not empty; shown to the user.
        """
        self.reason = reason


@dataclass(frozen=True)
class FitStart:
    """Sent once, before the first step.

    Attributes:
        settings: all settings of the run.
        run_folder: where everything is written.
        num_train_images, num_val_images: sizes of the splits.
        batches_per_epoch: batches in one pass.
        start_epoch, start_batch: where the run begins; (0, 0) unless resumed. Epochs count from 0.
        device: what the model runs on, in words.
        model_summary: name, parameters and GFLOPs in one line.
        indexes: images and labels by split, "train" and "val".
        control: lets a callback end the run; keep it if you need it later.
        weight_decay: weight decay of each update: the setting, scaled by its number of images.
        loss_columns: names of the terms of the loss; `train/<name>_loss` in the rows of the epochs.
    """

    settings: TrainSettings
    run_folder: Path
    names: tuple[str, ...]
    num_train_images: int
    num_val_images: int
    batches_per_epoch: int
    start_epoch: int
    start_batch: int
    device: str
    model_summary: str
    indexes: Mapping[str, DatasetIndex] = field(default_factory=dict)
    control: RunControl = field(default_factory=RunControl)
    weight_decay: float = 0.0
    loss_columns: tuple[str, ...] = ("box", "obj", "cls")

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier process has begun this run."""
        return (self.start_epoch, self.start_batch) != (0, 0)


@dataclass(frozen=True)
class StepEnd:
    """Sent after every batch.

    Attributes:
        epoch, batch: what has just been done, from 0.
        step: batches done since the run began.
        mean_losses: (C,) terms in the order of `FitStart.loss_columns`; mean over the epoch so far; on the device:
            reading it waits for the device.
        learning_rates: learning rates of the bias, decayed and normalisation weights.
        num_images: images of this batch, in all processes together.
        num_boxes: boxes of this batch, in this process.
        imgsz: longest side of the batch images, pixels.
        num_dropped_boxes: boxes dropped by `transforms`, in this process.
    """

    epoch: int
    batch: int
    step: int
    mean_losses: Tensor
    learning_rates: tuple[float, float, float]
    num_images: int
    num_boxes: int
    imgsz: int
    num_dropped_boxes: int = 0


@dataclass(frozen=True)
class EpochEnd:
    """Sent after every epoch and its validation.

    Attributes:
        epoch: number of the epoch, from 0.
        row: the line of `results.csv`; validation entries are missing if the epoch was not validated, and numbers that
            are not finite.
        metrics: what the validation found, or None.
        is_best: whether the fitness is the best so far.
        train_seconds, val_seconds: wall time.
        detections: what was found image by image, in the order of the "val" index; empty without a validation.
        epochs: epochs of the whole run, as planned by now; 0 if the sender does not know.
    """

    epoch: int
    row: dict[str, float]
    metrics: DetectionMetrics | None
    is_best: bool
    train_seconds: float
    val_seconds: float
    detections: tuple[Detections, ...] = ()
    epochs: int = 0


@dataclass(frozen=True)
class CheckpointWritten:
    """Sent after a checkpoint is safely on the disk."""

    path: Path
    epoch: int
    step: int
    seconds: float


@dataclass(frozen=True)
class FitEnd:
    """Sent once, when everything is validated, plotted and written, or when a stopped run is saved.

    Attributes:
        reason: "finished", "early stop", `STOP_REQUESTED`, or what a callback gave.
        metrics: those of the best weights on the validation split, as users load them; None after `STOP_REQUESTED`.
        epochs_done: epochs that are complete.
        best_epoch: epoch of the best fitness, from 0; -1 if none was validated.
        best_fitness: see `DetectionMetrics.fitness`.
        history: all rows of `results.csv`.
        seconds: wall time of this process's part of the run.
    """

    reason: str
    epochs_done: int
    best_epoch: int
    best_fitness: float
    history: tuple[dict[str, float], ...]
    seconds: float
    metrics: DetectionMetrics | None = None


class Callback:
    """An observer; override what you need. Exceptions in it are logged and silence it, the run continues."""

    def on_fit_start(self, event: FitStart) -> None:
        """Before the first step."""

    def on_step_end(self, event: StepEnd) -> None:
        """After every batch; training waits for it, so keep it short."""

    def on_epoch_end(self, event: EpochEnd) -> None:
        """After every epoch and its validation."""

    def on_checkpoint_written(self, event: CheckpointWritten) -> None:
        """After a checkpoint is safely on the disk."""

    def on_fit_end(self, event: FitEnd) -> None:
        """When everything is written, or after a requested stop."""


Event = FitStart | StepEnd | EpochEnd | CheckpointWritten | FitEnd
_HANDLERS = {
    FitStart: "on_fit_start",
    StepEnd: "on_step_end",
    EpochEnd: "on_epoch_end",
    CheckpointWritten: "on_checkpoint_written",
    FitEnd: "on_fit_end",
}


class Observers:
    """Sends events to callbacks in their order; one that raises is logged and switched off.

    Args:
        resting: a context in which this process may stand still for any time: callbacks wait for disks and networks.

    Attributes:
        control: what the callbacks ask of the run.
    """

    def __init__(
        self, callbacks: Sequence[Callback] = (), *, resting: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._callbacks = list(callbacks)
        self._resting = resting
        self.control = RunControl()

    def add_first(self, *callbacks: Callback) -> None:
        """Put these before all others."""
        self._callbacks[:0] = callbacks

    def send(self, event: Event) -> None:
        """Give `event` to every callback that is still listening."""
        for callback in list(self._callbacks):
            try:
                with self._resting():
                    getattr(callback, _HANDLERS[type(event)])(event)
            except Exception as problem:
                name, line = type(callback).__name__, _line_reached(callback, problem)
                logger.exception("callback `%s` failed%s and is switched off", name, line)
                self._callbacks.remove(callback)


def _line_reached(callback: Callback, problem: Exception) -> str:
    """Where in the file of a callback it failed; empty if no line of that file was reached."""
    file = getattr(sys.modules.get(type(callback).__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == file]
    return f" in `{file}` line {lines[-1]}" if lines else ""
