"""Counts the boxes that transforms of the user's choice take away, so that none disappears unsaid."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from onelook.training.callback import Callback, StepEnd

logger = logging.getLogger(__name__)


class DroppedBoxes(Callback):
    """Counts the boxes that were taken away, and those that were left, in one process."""

    def __init__(self) -> None:
        self.counts = [0, 0]

    def on_step_end(self, event: StepEnd) -> None:
        """Count."""
        self.counts[0] += event.num_dropped_boxes
        self.counts[1] += event.num_boxes


def warn_of_dropped_boxes(counts: Iterable[Sequence[int]]) -> None:
    """Say how many boxes were taken away, of the counts of every process, if any were."""
    dropped, left = (sum(part) for part in zip(*counts, strict=True))
    if dropped:
        share = 100 * dropped / (dropped + left)
        logger.warning("`transforms` dropped %d of %d boxes (%.2g %%)", dropped, dropped + left, share)
