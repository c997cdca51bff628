"""Counts the boxes that the user's `transforms` drop, to warn of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from onelook.training.callback import Callback, StepEnd

logger = logging.getLogger(__name__)


class DroppedBoxes(Callback):
    """Counts the dropped and the remaining boxes of one process."""

    def __init__(self) -> None:
        self.counts = [0, 0]

    def on_step_end(self, event: StepEnd) -> None:
        """Count the boxes of the batch."""
        self.counts[0] += event.num_dropped_boxes
        self.counts[1] += event.num_boxes


def warn_of_dropped_boxes(counts: Iterable[Sequence[int]]) -> None:
    """Log how many boxes were dropped, if any, from the counts of all processes."""
    dropped, left = (sum(part) for part in zip(*counts, strict=True))
    if dropped:
        share = 100 * dropped / (dropped + left)
        logger.warning("`transforms` dropped %d of %d boxes (%.2g %%)", dropped, dropped + left, share)
