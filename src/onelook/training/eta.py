"""Where a run is within its epoch, how fast it goes and how long the rest will take."""

from __future__ import annotations

import math

from onelook.training.callback import EpochEnd, FitStart, StepEnd


class Pace:
    """Follows the events of a run; speed is measured from the end of an epoch's first batch on, which also warms up.

    Attributes:
        last_epoch: last epoch of the run, from 0, as planned by now.
    """

    def __init__(self, event: FitStart) -> None:
        self.last_epoch = event.settings.epochs - 1
        self.batches_per_epoch = event.batches_per_epoch
        self._epoch, self._first_batch = -1, 0  # the epoch under way, and the first batch that this process saw of it
        self._since, self._num_images = 0.0, 0  # when that batch was done, and images since
        self._epoch_seconds: float | None = None  # of the epoch before, validation included

    def step(self, event: StepEnd, now: float) -> bool:
        """Take in a batch that was done at `now`, seconds; whether it is the first one seen of its epoch."""
        if self._epoch == event.epoch:
            self._num_images += event.num_images
            return False
        self._epoch, self._first_batch, self._since, self._num_images = event.epoch, event.batch, now, 0
        return True

    def epoch(self, event: EpochEnd) -> None:
        if event.epochs:
            self.last_epoch = event.epochs - 1
        if self._epoch >= 0:
            self._epoch_seconds = event.train_seconds + event.val_seconds

    def images_per_second(self, now: float) -> float:
        """Images trained on per second; nan before there is anything to measure."""
        return self._num_images / (now - self._since) if self._num_images and now > self._since else math.nan

    def time_left(self, batch: int, now: float) -> tuple[float, float]:
        """Seconds until the epoch's training ends, and until the run does; nan before there is anything to measure."""
        done = batch - self._first_batch
        per_batch = (now - self._since) / done if done > 0 else math.nan
        epoch_left = per_batch * (self.batches_per_epoch - 1 - batch)
        whole_epoch = self._epoch_seconds if self._epoch_seconds is not None else per_batch * self.batches_per_epoch
        return epoch_left, epoch_left + whole_epoch * (self.last_epoch - self._epoch)

    def position(self, step: StepEnd, now: float) -> list[str]:
        """In words: batches, images per second, time left of the epoch and of the run; after `step` was taken in."""
        speed = self.images_per_second(now)
        rate = "-" if math.isnan(speed) else f"{speed:.{1 if speed < 1000 else 0}f}"
        epoch_left, run_left = self.time_left(step.batch, now)
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
