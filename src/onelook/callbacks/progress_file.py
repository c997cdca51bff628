"""`progress.json`: where a run is within an epoch, for the live report; `RunDir` removes it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from onelook.errors import DataError
from onelook.files.atomic import write_json_atomic
from onelook.files.bounded import printable, read_bounded
from onelook.files.json_values import from_document
from onelook.training.callback import Callback, EpochEnd, FitStart, StepEnd
from onelook.training.eta import Pace

logger = logging.getLogger(__name__)

FORMAT = 1
MAX_BYTES = 1 << 16
WRITE_SECONDS = 5.0  # a write makes its step wait for the device and the disk
REST_PER_WRITE = 20.0  # least pause in durations of the last write, so that a slow disk takes a small share of the time


@dataclass(frozen=True)
class EpochProgress:
    """Where an epoch is.

    Attributes:
        share: fraction of the epoch's batches that are done, 0 to 1.
        text: batches, speed, time left and losses, means over the epoch so far.
    """

    share: Annotated[float, Field(ge=0, le=1)]
    text: str


class ProgressFile(Callback):
    """Writes an `EpochProgress` every five seconds, less often to a slow disk, and once more after the last batch of an
    epoch in which it has written.
    """

    _pace: Pace  # from the first event on

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._losses: tuple[str, ...] = ()
        self._due = 0.0
        self._epoch = -1

    def on_fit_start(self, event: FitStart) -> None:
        self._pace, self._losses, self._due = Pace(event), event.loss_columns, self._clock() + WRITE_SECONDS

    def on_step_end(self, event: StepEnd) -> None:
        """Write if it is time to."""
        now = self._clock()
        self._pace.step(event, now)
        done = event.batch + 1
        is_last = done == self._pace.batches_per_epoch and self._epoch == event.epoch
        if now < self._due and not is_last:
            return
        self._epoch = event.epoch
        losses = zip(self._losses, event.mean_losses.tolist(), strict=True)
        batches, speed, epoch_left, run_left = self._pace.position(event, now)
        text = f"epoch {event.epoch}/{self._pace.last_epoch}, batch {batches}, {speed}, {epoch_left}, {run_left} left; "
        text += ", ".join(f"{name} {loss:.4f}" for name, loss in losses)
        progress = EpochProgress(done / self._pace.batches_per_epoch, text)
        try:
            write_json_atomic(self._path, {"format": FORMAT, **asdict(progress)})
        except OSError as problem:
            logger.debug("`%s` was not written: %s", self._path, problem.strerror or problem)
        after = self._clock()
        self._due = after + max(WRITE_SECONDS, REST_PER_WRITE * (after - now))

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Learn how long an epoch takes."""
        self._pace.epoch(event)


def read_progress(path: Path) -> EpochProgress | None:
    """The content of `progress.json`; None if it is missing or damaged."""
    try:
        found = from_document(EpochProgress, json.loads(read_bounded(path, MAX_BYTES)), version=FORMAT)
    except (DataError, ValueError, RecursionError):
        return None
    return replace(found, text=printable(found.text))
