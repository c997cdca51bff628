"""How fast an epoch goes and how long the rest will take."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
