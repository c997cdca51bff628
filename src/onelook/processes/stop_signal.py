"""Turns Ctrl-C, SIGTERM and SIGUSR1 into a request that the loops ask for; a second signal ends the process at once."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from onelook.errors import StopRequested
from onelook.processes.launch_env import has_our_launcher

# SIGUSR1 is what SLURM and others send some time before the end of a job, if asked to; Windows has no such signal.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
# `timeout` and other launchers send a signal to the process and to its group: one wish that arrives twice.
REPEAT_SECONDS = 0.25


class StopSignal:
    """Set by a signal, asked by every long loop. A context manager; signals reach it in the main thread only.

    Work that takes one raises StopRequested some time after it was set.

    One may surround another: the inner one takes over a request that the outer one has had, and hands on its own at its
    end.

    Args:
        at_once: end the process at the first signal, with the exit code of a stop, as long as no inner one has begun:
            there is nothing to save yet.
        before_end: done before a second signal ends the process.

    Attributes:
        requested: whether the run should save and stop.
        name: name of the signal, or of whatever else asked for a stop; empty before that.
    """

    def __init__(self, *, at_once: bool = False, before_end: Callable[[], None] | None = None) -> None:
        self.requested = False
        self._before_end = before_end
        self._at_once = at_once
        self.name = ""
        self._seconds = 0.0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python hands signals to the main thread only
        for number in SIGNALS:
            previous = signal.signal(number, self._handle)
            self._previous[number] = signal.SIG_DFL if previous is None else previous
            outer = getattr(previous, "__self__", None)
            if isinstance(outer, StopSignal):
                outer._at_once = False
                if outer.requested:
                    self.request(outer.name)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, StopSignal) and self.requested and not outer.requested:
                outer.request(self.name)

    def __call__(self) -> bool:
        """`requested`, for whatever takes a function to ask now and then."""
        return self.requested

    def request(self, name: str = "a caller") -> None:
        """Ask for a stop from within the program."""
        self.requested = True
        self.name = name
        self._seconds = time.monotonic()

    def check(self) -> None:
        """Raise if a stop was asked for.

        Raises:
            StopRequested: naming the signal.
        """
        if self.requested:
            raise StopRequested(f"stopped on request of {self.name}")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._at_once:
            if os.environ.get("RANK", "0") == "0":  # one of several speaks
                os.write(2, f"stopped on request of {name}\n".encode())
            os._exit(StopRequested.exit_code)
        if not self.requested:
            self.request(name)
        elif has_our_launcher():
            return  # it passes on what batch systems send to every process too, and ends us at its own second signal
        elif name != self.name or time.monotonic() - self._seconds > REPEAT_SECONDS:
            if self._before_end is not None:
                self._before_end()
            os._exit(128 + number)


def keep_exit_code(code: int) -> None:
    """Let signals end the process with `code` from now on: nothing that anybody needs is left to do."""

    def leave(number: int, frame: FrameType | None) -> None:
        os._exit(code)

    for number in SIGNALS:
        signal.signal(number, leave)


def ignore_signals_at_exit() -> None:
    """Ignore signals while the interpreter is taken down, which takes half a second with torch and runs no handler.

    To be called before anything else that asks to be called at exit, since the first in line is the last to be called.
    """

    def ignore() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    atexit.register(ignore)
