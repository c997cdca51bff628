"""Where a run is within its epoch, how fast it goes and how long the rest will take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onelook.training.callback import EpochEnd, FitStart, StepEnd


@dataclass
class Eta:
    """Speed of one epoch, measured from the end of its first batch on: that one also warms everything up.

    Attributes:
        first_batch: the first batch that this process saw of it.
        since: when that batch was done, seconds.
        num_images: images done after it.
        epoch_seconds: what the epoch before took, validation included; None if there was none.
    """

    epoch: int
    first_batch: int
    since: float
    num_images: int = 0
    epoch_seconds: float | None = None

    def images_per_second(self, now: float) -> float:
        """Images trained on per second; nan before there is anything to measure."""
        return self.num_images / (now - self.since) if self.num_images and now > self.since else math.nan

    def time_left(self, batch: int, now: float, batches_per_epoch: int, last_epoch: int) -> tuple[float, float]:
        """Seconds until the epoch's training ends, and until the run does; nan before there is anything to measure."""
        done = batch - self.first_batch
        per_batch = (now - self.since) / done if done > 0 else math.nan
        epoch_left = per_batch * (batches_per_epoch - 1 - batch)
        whole_epoch = self.epoch_seconds if self.epoch_seconds is not None else per_batch * batches_per_epoch
        return epoch_left, epoch_left + whole_epoch * (last_epoch - self.epoch)


class Pace:
    """Follows the events of a run.

    Attributes:
        last_epoch: of the run, from 0, as planned by now.
        batches_per_epoch: batches in one pass.
    """

    def __init__(self, event: FitStart) -> None:
        self.last_epoch = event.settings.epochs - 1
        self.batches_per_epoch = event.batches_per_epoch
        self._eta: Eta | None = None

    def step(self, event: StepEnd, now: float) -> bool:
        """Take in a batch that was done at `now`, seconds; whether it is the first one seen of its epoch."""
        if self._eta is not None and self._eta.epoch == event.epoch:
            self._eta.num_images += event.num_images
            return False
        before = self._eta.epoch_seconds if self._eta is not None else None
        self._eta = Eta(event.epoch, event.batch, now, epoch_seconds=before)
        return True

    def epoch(self, event: EpochEnd) -> None:
        """Take in an epoch."""
        if event.epochs:
            self.last_epoch = event.epochs - 1
        if self._eta is not None:
            self._eta.epoch_seconds = event.train_seconds + event.val_seconds

    def position(self, step: StepEnd, now: float) -> list[str]:
        """In words: batches, images per second, time left of the epoch and of the run; after `step` was taken in."""
        assert self._eta is not None
        speed = self._eta.images_per_second(now)
        rate = "-" if math.isnan(speed) else f"{speed:.{1 if speed < 1000 else 0}f}"
        epoch_left, run_left = self._eta.time_left(step.batch, now, self.batches_per_epoch, self.last_epoch)
        batches = f"{step.batch + 1}/{self.batches_per_epoch}"
        return [batches, f"{rate} img/s", f"{duration(epoch_left)} left", f"run {duration(run_left)}"]


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours, minutes and seconds; `-` for nan.

    >>> duration(71.6), duration(7384), duration(float("nan"))
    ('1:12', '2:03:04', '-')
    """
    if not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
