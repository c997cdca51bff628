"""Finds the process of a run that hangs, names it, and ends the run so that it can restart.

Each process writes into the common store how far it has come. A process is frozen if nothing new comes from it at all,
and stuck if its main thread makes no progress while it is not waiting for others.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from onelook.errors import ProcessGroupError
from onelook.files.running import KILL
from onelook.processes.failure_store import FailureStore

logger = logging.getLogger(__name__)

DEFAULT_SECONDS = 60.0
# A stuck process prints its threads after this part of the time after which the others end it: two checks earlier, so
# that a busy machine does not reverse the order.
OWN_PART = 0.75


@dataclass
class _Seen:
    """What is known of another process.

    Attributes:
        ticked, moved: when its heartbeat and when its progress were last seen to change, monotonic seconds.
    """

    note: dict[str, Any]
    ticked: float
    moved: float


class Heartbeat:
    """The heartbeat of this process, and the watch over those of the others; a thread of its own."""

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self._store = store
        self._rank = rank
        self._size = size
        self._seconds = DEFAULT_SECONDS
        self._progress = 0
        self._activity = "at the start"
        self._is_resting = True
        self._others: dict[int, _Seen] = {}
        self._own_progress = (0, time.monotonic())
        self._ended = threading.Event()
        self._write(self._note(0))  # a process that has never been seen is never reported as hung
        self._thread = threading.Thread(target=self._watch, name="onelook-heartbeat", daemon=True)
        self._thread.start()

    def set_patience(self, seconds: float) -> None:
        """How long a process may stand still before it counts as hung."""
        self._seconds = seconds

    def beat(self, activity: str) -> None:
        """Note progress of the main thread; from now on it has to keep moving, until it rests."""
        self._progress += 1
        self._activity = activity
        self._is_resting = False

    def rest(self) -> None:
        """Note that what comes may take any time."""
        self._is_resting = True

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While the main thread waits for others."""
        before = self._is_resting
        self._is_resting = True
        try:
            yield
        finally:
            self._is_resting = before
            self._progress += 1

    def end(self) -> None:
        """Stop watching and being watched."""
        self._ended.set()
        self._thread.join()
        self._write({"gone": True})

    def _watch(self) -> None:
        tick = 0
        while not self._ended.wait(min(1.0, self._seconds / 8)):
            tick += 1
            self._write(self._note(tick))
            self._check_own_progress()
            for rank in range(self._size):
                if rank != self._rank:
                    self._check_rank(rank)

    def _note(self, tick: int) -> dict[str, Any]:
        return {
            "tick": tick,
            "progress": self._progress,
            "resting": self._is_resting,
            "place": self._activity,
            "pid": os.getpid(),
            "host": platform.node(),
        }

    def _write(self, note: dict[str, Any]) -> None:
        try:
            self._store.set(f"onelook/beat{self._rank}", json.dumps(note))
        except RuntimeError as problem:
            logger.debug("heartbeat: %s", problem)

    def _check_rank(self, rank: int) -> None:
        note = self._read(rank)
        now = time.monotonic()
        seen = self._others.get(rank)
        if note is None or note.get("gone"):
            self._others.pop(rank, None)
            return
        if seen is None:
            self._others[rank] = _Seen(note, now, now)
            return
        if note["tick"] != seen.note["tick"]:
            seen.ticked = now
        if note["progress"] != seen.note["progress"] or note["resting"]:
            seen.moved = now
        seen.note = note
        if now - seen.ticked > self._seconds or now - seen.moved > self._seconds:
            self._end_run(rank, note, is_frozen=now - seen.ticked > self._seconds)

    def _read(self, rank: int) -> dict[str, Any] | None:
        key = f"onelook/beat{rank}"
        try:
            return json.loads(self._store.get(key)) if self._store.check([key]) else None
        except RuntimeError as problem:
            logger.debug("heartbeat: %s", problem)
            return None

    def _check_own_progress(self) -> None:
        """If the main thread is stuck, show where, before the others end it."""
        progress, since = self._own_progress
        now = time.monotonic()
        if self._progress != progress or self._is_resting:
            self._own_progress = (self._progress, now)
        elif now - since > OWN_PART * self._seconds:
            self._own_progress = (progress, now)
            self._say(f"process {self._rank} makes no progress {self._activity}; its threads:")
            faulthandler.dump_traceback(all_threads=True)

    def _end_run(self, rank: int, note: dict[str, Any], *, is_frozen: bool) -> None:
        state = "has given no sign of life" if is_frozen else "has made no progress"
        problem = ProcessGroupError(
            f"process {rank} (pid {note['pid']} on {note['host']}) {state} for {self._seconds:g} s; "
            f"it was {note['place']}",
            hint="if it only needs longer, raise `--hang-timeout`",
        )
        if FailureStore(self._rank, self._store).give(problem):  # all others see it as well
            self._say(f"error: {problem}")
        if note["host"] == platform.node():
            try:
                os.kill(note["pid"], KILL)  # else the launcher would wait half a minute for it
            except OSError as refusal:
                logger.debug("process %s cannot be ended: %s", note["pid"], refusal)
        os._exit(problem.exit_code)

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
