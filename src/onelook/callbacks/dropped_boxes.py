"""Counts the boxes that transforms of the user's choice take away, so that none disappears unsaid."""

from __future__ import annotations

import logging

from onelook.engine.callback import Callback, FitEnd, StepEnd

logger = logging.getLogger(__name__)


class DroppedBoxes(Callback):
    """Says at the end of a run how many boxes were taken away, if any were."""

    def __init__(self) -> None:
        self._dropped = 0
        self._shown = 0

    def on_step_end(self, event: StepEnd) -> None:
        """Count."""
        self._dropped += event.num_dropped_boxes
        self._shown += event.num_boxes

    def on_fit_end(self, event: FitEnd) -> None:
        """Say it."""
        if self._dropped:
            total = self._dropped + self._shown
            share = 100 * self._dropped / total
            logger.warning("`transforms` took away %d of %d boxes (%.2g %%)", self._dropped, total, share)
