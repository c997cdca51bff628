"""The thread of one tracker: training neither waits for it nor fails with it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from onelook.callbacks.trackers.tracker import Tracker

logger = logging.getLogger(__name__)

MAX_WAITING = 256
MISSING = 'tracker `%s` is off: package `%s` is missing; install it with `pip install "onelook[track]"`'
Call = Callable[[Tracker], None]


class TrackerThread:
    """Makes calls to a tracker, one after the other, in a daemon thread.

    The first exception is logged as a warning and switches the tracker off; what is waiting then is dropped.

    Attributes:
        is_on: False once it has failed or is done.
        num_dropped: calls that were dropped while too many waited.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name = name
        self.tracker = tracker
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self.is_on = True
        self.num_dropped = 0
        self._thread = threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True)
        self._thread.start()

    def send(self, call: Call | None, *, may_drop: bool = False) -> None:
        """Queue `call`, None as the end, without waiting; with `may_drop` only while fewer than 256 calls wait."""
        if may_drop and self._calls.qsize() >= MAX_WAITING:
            self.num_dropped += 1
        elif self.is_on:
            self._calls.put(call)

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` for the last call; a tracker that needs longer is abandoned."""
        self._thread.join(max(seconds, 0.0))
        if self._thread.is_alive():
            logger.warning("tracker `%s` did not finish in time; the end of the run may be missing there", self.name)
        self.is_on = False

    def _work(self) -> None:
        while self.is_on and (call := self._calls.get()) is not None:
            try:
                call(self.tracker)
            except ModuleNotFoundError as problem:
                logger.warning(MISSING, self.name, problem.name)
                self._switch_off()
            except (Exception, SystemExit):
                logger.warning("tracker `%s` failed and is switched off; the run continues", self.name, exc_info=True)
                self._switch_off()

    def _switch_off(self) -> None:
        self.is_on = False
        while not self._calls.empty():
            self._calls.get_nowait()
