"""Signals become requests; a second one ends the process; whoever surrounds a run hands over what came early."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

import pytest

from onelook.errors import StopRequested
from onelook.processes.launch_env import LAUNCHED_BY
from onelook.processes.stop_signal import REPEAT_SECONDS, SIGNALS, StopSignal, keep_exit_code

OTHER = {signal.SIGINT: signal.SIGTERM, signal.SIGTERM: signal.SIGUSR1, signal.SIGUSR1: signal.SIGINT}


def exit_code_of(work: Callable[[], None]) -> int:
    """Of a fork of this process that does `work`; 0 if it comes to its end."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_is_a_request_that_names_it(number: signal.Signals) -> None:
    with StopSignal() as stop:
        stop.check()
        signal.raise_signal(number)
        assert stop.requested
        with pytest.raises(StopRequested, match=f"^stopped on request of {number.name}$") as caught:
            stop.check()
    assert caught.value.exit_code == 75


@pytest.mark.parametrize("is_raised", [True, False])
def test_a_request_that_came_within_is_handed_on_at_the_end(is_raised: bool) -> None:
    with StopSignal() as outer:
        with contextlib.suppress(StopRequested), StopSignal() as inner:
            signal.raise_signal(signal.SIGTERM)
            assert not outer.requested
            if is_raised:
                inner.check()
        with pytest.raises(StopRequested, match="SIGTERM"):
            outer.check()


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopSignal(), StopSignal():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    def twice() -> None:
        with StopSignal():
            signal.raise_signal(number)
            time.sleep(REPEAT_SECONDS + 0.05)
            signal.raise_signal(number)

    def two() -> None:
        with StopSignal():
            signal.raise_signal(OTHER[number])
            signal.raise_signal(number)

    assert exit_code_of(twice) == exit_code_of(two) == 128 + number


def test_a_signal_that_arrives_twice_in_a_moment_is_one() -> None:
    def both_to_process_and_group() -> None:
        with StopSignal() as stop:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested

    assert exit_code_of(both_to_process_and_group) == 0


def test_a_second_signal_to_a_process_of_our_launcher_is_left_to_the_launcher() -> None:
    """Batch systems send signals to all processes; what the launcher passes on comes second, and may come late."""

    def twice() -> None:
        os.environ[LAUNCHED_BY] = str(os.getppid())
        with StopSignal() as stop:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(REPEAT_SECONDS + 0.05)
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            assert stop.name == "SIGTERM"
            os.environ[LAUNCHED_BY] = "1"  # it has died, and another one is the parent now
            signal.raise_signal(signal.SIGUSR1)

    assert exit_code_of(twice) == 128 + signal.SIGUSR1


def test_before_anything_has_begun_the_first_signal_ends_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    def early() -> None:
        with StopSignal(at_once=True):
            signal.raise_signal(signal.SIGUSR1)

    assert exit_code_of(early) == 75
    assert capfd.readouterr().err == "stopped on request of SIGUSR1\n"


@pytest.mark.parametrize(("rank", "says"), [("0", "stopped on request of SIGTERM\n"), ("1", "")])
def test_before_anything_has_begun_the_first_process_speaks_for_all(
    rank: str, says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def early() -> None:
        with StopSignal(at_once=True):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setenv("RANK", rank)
    assert exit_code_of(early) == 75
    assert capfd.readouterr().err == says


def test_a_run_takes_over_a_request_and_then_ends_in_its_own_time() -> None:
    with StopSignal() as outer:
        signal.raise_signal(signal.SIGTERM)
        with StopSignal() as inner, pytest.raises(StopRequested, match="SIGTERM"):
            inner.check()
    assert outer.requested

    def late() -> None:
        with StopSignal(at_once=True):
            with StopSignal():
                pass
            signal.raise_signal(signal.SIGTERM)  # what is done is done: the command ends as it would have

    assert exit_code_of(late) == 0


def test_a_decided_exit_code_stays() -> None:
    def decided() -> None:
        keep_exit_code(3)
        signal.raise_signal(signal.SIGTERM)

    assert exit_code_of(decided) == 3
