"""Turns Ctrl-C and SIGTERM into a request that the loops ask for; a second signal ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

from onelook.errors import StopRequested


class StopSignal:
    """Set by a signal, asked by every long loop. A context manager; signals reach it in the main thread only.

    Attributes:
        requested: whether the run should save and stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._name = ""
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python hands signals to the main thread only
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def request(self, name: str = "a caller") -> None:
        """Ask for a stop from within the program."""
        self.requested = True
        self._name = name

    def check(self) -> None:
        """Raise if a stop was asked for.

        Raises:
            StopRequested: naming the signal.
        """
        if self.requested:
            raise StopRequested(f"stopped on request of {self._name}")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            os._exit(128 + number)
        self.request(signal.Signals(number).name)
