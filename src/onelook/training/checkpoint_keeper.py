"""Decides when a run is saved, keeps that below 2 % of its time, and never leaves it without a loadable checkpoint."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor

from onelook.errors import RunFolderError
from onelook.files.atomic import TEMPORARY_MARK
from onelook.runs.checkpoint import save_checkpoint
from onelook.runs.own_checkpoints import has_checkpoint
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import utc_now
from onelook.settings.train import TrainSettings
from onelook.training.callback import CheckpointWritten, Observers
from onelook.training.state import KIND_DETECTOR, TrainState, detector_tensors

logger = logging.getLogger(__name__)

MAX_SHARE = 0.02
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


class Keeper:
    """The interface of a checkpoint keeper. This one keeps nothing: it is for processes other than 0."""

    def remember_best(self, state: TrainState, metrics: dict[str, Any]) -> None:
        """Nothing."""

    def is_due(self, *, epoch_ended: bool) -> bool:
        """Never."""
        return False

    def save_numbered(self, state: TrainState, epoch: int) -> None:
        """Nothing."""

    def save(self, state: TrainState) -> None:
        """Nothing."""

    def raise_failure(self) -> None:
        """Nothing."""


class CheckpointKeeper(Keeper):
    """Writes `last`, `previous`, `best` and the numbered checkpoints of one run.

    A better epoch is copied in memory at once and written before the next `last`, so that no crash can leave a `last`
    that knows of a best which is not on the disk.

    Args:
        run: the run folder, with its `weights` folder.
        settings: `nosave`, `save_interval` and `save_period` are used.
        common: the part of the document that stays the same for the whole run.
        resting: a context in which this process may stand still for any time: disks can be slow.
        trackers: the names by which trackers know the run, as far as they are known by now.
        clock: seconds that never go backwards.
    """

    def __init__(
        self,
        run: RunDir,
        settings: TrainSettings,
        *,
        common: dict[str, Any],
        observers: Observers,
        resting: Callable[[], AbstractContextManager[None]] = nullcontext,
        trackers: Callable[[], dict[str, str]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._settings = settings
        self._common = common
        self._observers = observers
        self._resting = resting
        self._trackers = trackers
        self._clock = clock
        self._started = self._last_saved = clock()
        self._spent = self._last_cost = 0.0
        self._best: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self._failure: OSError | None = None
        self._failures = 0
        self._has_last = has_checkpoint(run)

    def remember_best(self, state: TrainState, metrics: dict[str, Any]) -> None:
        """Copy the averaged weights of the epoch that has just become the best."""
        tensors = {name: tensor.detach().clone() for name, tensor in detector_tensors(state.ema).items()}
        self._best = tensors, {"kind": KIND_DETECTOR, "metrics": metrics, "branch": state.progress.branch}

    def is_due(self, *, epoch_ended: bool) -> bool:
        """Whether to save now: at the end of an epoch or when the interval has passed, unless it has cost too much."""
        if self._settings.nosave:
            return False
        now = self._clock()
        is_time = epoch_ended or now - self._last_saved >= self._settings.save_interval
        return is_time and self._spent + self._last_cost <= MAX_SHARE * (now - self._started)

    def save_numbered(self, state: TrainState, epoch: int) -> None:
        """Keep the state after `epoch` in a file of its own if `save_period` asks for it."""
        period = self._settings.save_period
        if period > 0 and epoch % period == 0:
            with self._resting():
                self._write(self._run.numbered_checkpoint(epoch), state.tensors(), state.document(), state)

    def save(self, state: TrainState) -> None:
        """Write the best weights, if they are new, and then the state of the run.

        Raises:
            RunFolderError: the run folder is gone, for the second time: training on would be for nothing.
        """
        with self._resting():
            if self._best is not None:
                tensors, document = self._best
                if not self._write(self._run.best, tensors, document, state):
                    return  # otherwise `last` would refer to a best that was never written
                self._best = None
            self._write_last(state)

    def raise_failure(self) -> None:
        """Raise the error of the last write, if it failed.

        Raises:
            RunFolderError: the newest state of the run is not on the disk.
        """
        if self._failure is not None:
            raise RunFolderError(
                f"the last checkpoint could not be written below `{self._run.path}`: {_reason(self._failure)}",
                hint="free some space and resume; the checkpoint before it is whole"
                if self._has_last
                else "free some space and start again: nothing of this run is saved",
            ) from self._failure

    def _write_last(self, state: TrainState) -> None:
        """Write `last`; the one before it gets the name `previous`, but only once there is a newer one."""
        last, previous = self._run.last, self._run.previous
        second = _second_name(last, previous) if self._has_last else None
        if not self._write(last, state.tensors(), state.document(), state):
            if second is not None:
                second.unlink(missing_ok=True)
            return
        if second is not None:
            second.replace(previous)
        elif not self._has_last:
            previous.unlink(missing_ok=True)  # of an earlier run in this folder
        self._has_last = True

    def _write(self, path: Path, tensors: dict[str, Tensor], document: dict[str, Any], state: TrainState) -> bool:
        begun = self._clock()
        run = {**self._common.get("run", {}), "saved": utc_now(), "trackers": self._trackers()}
        try:
            save_checkpoint(path, tensors, {**self._common, **document, "run": run})
        except OSError as problem:
            self._note_failure(path, problem)
            return False
        self._failure, self._failures = None, 0
        self._last_saved = self._clock()
        self._last_cost = self._last_saved - begun
        self._spent += self._last_cost
        progress = state.progress
        self._observers.send(CheckpointWritten(path, progress.epoch, progress.step, self._last_cost))
        return True

    def _note_failure(self, path: Path, problem: OSError) -> None:
        kept = "the one before it is kept" if self._has_last else "nothing of this run is saved yet"
        logger.warning("checkpoint `%s` was not written: %s; %s", path, _reason(problem), kept)
        self._failure = problem
        self._failures += 1
        if problem.errno in GONE and self._failures > 1:
            raise RunFolderError(
                f"run folder `{self._run.path}` is gone: the run cannot be saved", hint="start a new run"
            ) from problem


def _second_name(last: Path, previous: Path) -> Path | None:
    """Another name for `last`, by a link, so that no bytes are copied and nothing is missing at any instant."""
    link = previous.with_name(f"{previous.name}{TEMPORARY_MARK}{os.getpid()}")
    try:
        link.unlink(missing_ok=True)
        link.hardlink_to(last)
    except (OSError, NotImplementedError) as problem:
        logger.debug("no second name for `%s`: %s", last, problem)
        return None
    return link


def _reason(problem: OSError) -> str:
    return problem.strerror or str(problem)
