"""How many epochs a budget of time allows. A decision is part of the run's state, so that a resumed run keeps it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from statistics import median
from time import monotonic

from onelook.training.state import Progress

logger = logging.getLogger(__name__)

RESERVE_SHARE = 0.03  # of the budget, for plots, files and the report at the end
FINAL_SHARE = 1 / 3  # of an epoch: the best weights are measured once more
RECENT_EPOCHS = 3
WORTH_EXTENDING = 1.1


def epochs_that_fit(budget: float, spent: float, done: int, epoch_seconds: float) -> int:
    """Epochs of a run that ends within its budget, those that are done included.

    Args:
        budget, spent: seconds of the whole run, and those that have passed.
        epoch_seconds: duration of an epoch, validation included.

    >>> epochs_that_fit(3600, 60, 0, 30), epochs_that_fit(3600, 1860, 60, 60)
    (114, 86)
    """
    left = budget * (1 - RESERVE_SHARE) - spent - epoch_seconds * FINAL_SHARE
    return done + max(int(left // epoch_seconds), 0)


@dataclass(frozen=True)
class TimeBudget:
    """Keeps the account of a run's time, and decides after each epoch how many epochs the run will have.

    Args:
        hours: time budget of the run; 0 for none, and then nothing is recorded or changed.
        began: when this process began with the run, by `monotonic`.
        before: seconds that the run had taken before it was resumed.
    """

    hours: float = 0.0
    began: float = 0.0
    before: float = 0.0

    def note(self, progress: Progress) -> None:
        """Write down the time that the run has taken so far."""
        if self.hours:
            progress.seconds = self.before + monotonic() - self.began

    def begin_epoch(self, progress: Progress) -> None:
        """Write down when the epoch begins, unless it is one that is resumed."""
        if progress.batch == 0:
            self.note(progress)
            progress.epoch_began = progress.seconds

    def length_after(self, progress: Progress, epochs: int) -> int:
        """Epochs of the whole run, decided at the end of one of them.

        Fewer than `epochs` where they would not end in time, but at least one more, in which the learning rate comes
        to its end. More only in the first half of the run, before learning rates have fallen, and if it is worth it.

        Args:
            progress: with the epoch that has ended counted as done.
            epochs: number of epochs planned so far.
        """
        if not self.hours or progress.epoch >= epochs:
            return epochs
        self.note(progress)
        progress.epoch_seconds = [*progress.epoch_seconds, progress.seconds - progress.epoch_began][-RECENT_EPOCHS:]
        fitting = self._fitting(progress, median(progress.epoch_seconds))
        if fitting - progress.epoch <= RECENT_EPOCHS:  # a slow epoch is no trend, but nothing would make up for it now
            fitting = self._fitting(progress, max(progress.epoch_seconds))
        if fitting < epochs:
            return max(fitting, progress.epoch + 1)
        is_early = 2 * progress.epoch <= epochs
        return fitting if is_early and fitting > WORTH_EXTENDING * epochs else epochs

    def _fitting(self, progress: Progress, epoch_seconds: float) -> int:
        return epochs_that_fit(3600 * self.hours, progress.seconds, progress.epoch, max(epoch_seconds, 1e-6))
