"""Keeps the signals that stop a run away from loader processes: they end when their parent does, not before."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

PR_SET_PDEATHSIG = 1
# Those of `onelook.processes.stop_signal`.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


def start_method_of_workers() -> str:
    """How loader processes are started: as the platform does it, but not by its fork server.

    A signal to the whole group would end the server and so the workers; and kept from signals, it would pass that on to
    every other process that the program has it start.
    """
    method = multiprocessing.get_start_method()
    return "spawn" if method == "forkserver" else method


@contextmanager
def signals_held_back(start_method: str) -> Iterator[None]:
    """Let signals that stop a run wait meanwhile, in this thread.

    Processes that it starts inherit that: a signal to the whole group finds none of them with the default, which
    is to die, before it has come to `end_with_parent`.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        if start_method != "fork":
            resource_tracker.ensure_running()  # which lets some of the signals through when it starts
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """In a new process: ignore the signals that stop a run, and never outlive the parent."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
