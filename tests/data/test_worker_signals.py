"""Loader processes and the signals that stop a run: to the whole group, with any way of starting them."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from onelook.data.worker_signals import STOP_SIGNALS, end_with_parent, signals_held_back, start_method_of_workers
from onelook.processes import stop_signal


def masked() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def report(pipe: multiprocessing.connection.Connection) -> None:
    """Say which signals are held back at the very start, then that none kills."""
    pipe.send(masked())
    end_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    for number in STOP_SIGNALS:
        os.kill(os.getpid(), number)
    pipe.send("alive")


def test_the_signals_are_those_that_stop_a_run() -> None:
    assert STOP_SIGNALS == stop_signal.SIGNALS


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_is_safe_from_its_first_instant(method: str) -> None:
    context, before = multiprocessing.get_context(method), masked()
    here, there = context.Pipe()
    child = context.Process(target=report, args=(there,))
    with signals_held_back(method):
        child.start()
        assert set(STOP_SIGNALS) <= masked()
    assert masked() == before
    assert set(STOP_SIGNALS) <= here.recv()
    assert here.recv() == "alive"
    child.join()
    assert child.exitcode == 0


def test_a_signal_that_was_held_back_arrives_afterwards() -> None:
    with stop_signal.StopSignal() as stop:
        with signals_held_back("fork"):
            signal.raise_signal(signal.SIGTERM)  # to this thread: others of the process hold nothing back
            assert not stop.requested
        assert stop.requested


def test_workers_are_not_started_by_the_fork_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start_method_of_workers() == multiprocessing.get_start_method()
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "forkserver")
    assert start_method_of_workers() == "spawn"
