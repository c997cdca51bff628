"""Decides when a run is saved, keeps that below 2 % of its time, and never leaves it without a loadable checkpoint."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from onelook.errors import CheckpointError, RunFolderError
from onelook.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from onelook.runs.run_dir import RunDir
from onelook.settings.train import TrainSettings
from onelook.training.callback import CheckpointWritten, Observers
from onelook.training.state import KIND_DETECTOR, TrainState, detector_tensors

logger = logging.getLogger(__name__)

MAX_SHARE = 0.02


class Keeper(Protocol):
    """What the training loop asks of whoever keeps its checkpoints; see `CheckpointKeeper`."""

    def remember_best(self, state: TrainState, metrics: dict[str, Any]) -> None: ...

    def save_if_due(self, state: TrainState, *, epoch_ended: bool) -> None: ...

    def save_numbered(self, state: TrainState, epoch: int) -> None: ...

    def save(self, state: TrainState) -> None: ...

    def raise_failure(self) -> None: ...


class NoCheckpoints:
    """The keeper of a process that writes no files: process 0 has the same state and does it."""

    def remember_best(self, state: TrainState, metrics: dict[str, Any]) -> None:
        """Nothing."""

    def save_if_due(self, state: TrainState, *, epoch_ended: bool) -> None:
        """Nothing."""

    def save_numbered(self, state: TrainState, epoch: int) -> None:
        """Nothing."""

    def save(self, state: TrainState) -> None:
        """Nothing."""

    def raise_failure(self) -> None:
        """Nothing."""


class CheckpointKeeper:
    """Writes `last`, `previous`, `best` and the numbered checkpoints of one run.

    A better epoch is copied in memory at once and written before the next `last`, so that no crash can leave a `last`
    that knows of a best which is not on the disk.

    Args:
        run: the run folder, with its `weights` folder.
        settings: `nosave`, `save_interval` and `save_period` are used.
        common: the part of the document that stays the same for the whole run.
        observers: told of each checkpoint.
        clock: seconds that never go backwards.
    """

    def __init__(
        self,
        run: RunDir,
        settings: TrainSettings,
        *,
        common: dict[str, Any],
        observers: Observers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._settings = settings
        self._common = common
        self._observers = observers
        self._clock = clock
        self._started = self._last_saved = clock()
        self._spent = self._last_cost = 0.0
        self._best: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self._failure: OSError | None = None

    def remember_best(self, state: TrainState, metrics: dict[str, Any]) -> None:
        """Copy the averaged weights of the epoch that has just become the best."""
        tensors = {name: tensor.detach().clone() for name, tensor in detector_tensors(state.ema).items()}
        self._best = tensors, {"kind": KIND_DETECTOR, "metrics": metrics, **self._common}

    def save_if_due(self, state: TrainState, *, epoch_ended: bool) -> None:
        """Save at the end of an epoch, or when the interval has passed, unless saving has cost too much so far."""
        if self._settings.nosave:
            return
        now = self._clock()
        is_due = epoch_ended or now - self._last_saved >= self._settings.save_interval
        if is_due and self._spent + self._last_cost <= MAX_SHARE * (now - self._started):
            self.save(state)

    def save_numbered(self, state: TrainState, epoch: int) -> None:
        """Keep the state after `epoch` in a file of its own if `save_period` asks for it."""
        period = self._settings.save_period
        if period > 0 and epoch % period == 0:
            self._write(self._run.numbered_checkpoint(epoch), state.tensors(), self._document(state), state)

    def save(self, state: TrainState) -> None:
        """Write the best weights, if they are new, and then the state of the run."""
        if self._best is not None:
            tensors, document = self._best
            if self._write(self._run.best, tensors, document, state):
                self._best = None
        _keep_previous(self._run.last, self._run.previous)
        self._write(self._run.last, state.tensors(), self._document(state), state)

    def raise_failure(self) -> None:
        """Raise what the last write failed with, if it failed.

        Raises:
            RunFolderError: the newest state of the run is not on the disk.
        """
        if self._failure is not None:
            raise RunFolderError(
                f"the last checkpoint could not be written below `{self._run.path}`: {_reason(self._failure)}",
                hint="free some space and resume; the checkpoint before it is whole",
            ) from self._failure

    def _document(self, state: TrainState) -> dict[str, Any]:
        return {**self._common, **state.document()}

    def _write(self, path: Path, tensors: dict[str, Tensor], document: dict[str, Any], state: TrainState) -> bool:
        begun = self._clock()
        try:
            save_checkpoint(path, tensors, document)
        except OSError as problem:
            logger.warning("checkpoint `%s` was not written: %s; the one before it is kept", path, _reason(problem))
            self._failure = problem
            return False
        self._failure = None
        self._last_saved = self._clock()
        self._last_cost = self._last_saved - begun
        self._spent += self._last_cost
        progress = state.progress
        self._observers.send(CheckpointWritten(path, progress.epoch, progress.step, self._last_cost))
        return True


def load_newest(run: RunDir) -> Checkpoint:
    """The newest state of a run that is whole: `last`, or `previous` with a warning if `last` is damaged.

    Raises:
        CheckpointError: neither can be read; both reasons are given.
    """
    try:
        return load_checkpoint(run.last)
    except CheckpointError as problem:
        if not run.previous.is_file():
            raise
        try:
            checkpoint = load_checkpoint(run.previous)
        except CheckpointError as second:
            raise CheckpointError(f"{problem.message}; and {second.message}", hint="start a new run") from second
        logger.warning("%s; going on from `%s`", problem.message, run.previous)
        return checkpoint


def _keep_previous(last: Path, previous: Path) -> None:
    """Give `last` its second name, by a link, so that no bytes are copied and nothing is missing at any instant."""
    if not last.is_file() or not hasattr(os, "link"):
        return
    link = previous.with_name(previous.name + ".link")
    try:
        link.unlink(missing_ok=True)
        os.link(last, link)
        link.replace(previous)
    except OSError as problem:
        logger.debug("no second name for `%s`: %s", last, problem)


def _reason(problem: OSError) -> str:
    return problem.strerror or str(problem)
