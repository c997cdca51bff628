"""A process that hangs is named and ended within the time that was set; one that is slow or waits is left alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_ranks import Ranks, require_loopback, start_ranks
from torch.distributed import HashStore

from onelook.cli.messages import report
from onelook.errors import ProcessGroupError
from onelook.processes.heartbeat import Heartbeat
from onelook.processes.process_group import joined_group, reasons_given

PATIENCE, LONG = 2.0, 20.0  # seconds
SIZE = 3
LATE = 1
FIRST_BEAT = 1.2


def work(how: str) -> int:
    """Process 1 stops moving in some way after a few rounds; the others go round with it, or wait for it."""
    try:
        with joined_group() as group, reasons_given(group):
            group.set_patience(LONG if how == "be slow" else PATIENCE)
            for place in range(6):
                group.beat(f"in round {place}")
                if group.rank == LATE and place == 3:
                    STOPS[how]()
                group.gather_values(place)
            group.rest()
            group.leave_together()
    except ProcessGroupError as problem:
        return report(problem)
    return 0


def freeze() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def get_stuck() -> None:
    time.sleep(1000)


def be_slow() -> None:
    time.sleep(LONG / 8)


STOPS: dict[str, Callable[[], None]] = {"freeze": freeze, "get stuck": get_stuck, "be slow": be_slow}


@pytest.fixture(autouse=True)
def loopback() -> None:
    require_loopback()


def run(how: str, folder: Path) -> tuple[Ranks, list[int]]:
    ranks = start_ranks(work, SIZE, folder, arguments=(how,))
    return ranks, ranks.join()


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("freeze", "has given no sign of life for 2 s; it was "),
        ("get stuck", "has made no progress for 2 s; it was in round 3"),
    ],
)
def test_a_process_that_hangs_is_named_once_and_ended_and_so_are_the_others(
    tmp_path: Path, how: str, state: str
) -> None:
    ranks, codes = run(how, tmp_path)
    assert codes == [70, -signal.SIGKILL, 70], ranks.everything_said
    assert len(ranks.errors) == 1, ranks.everything_said
    assert f"error: process 1 (pid {ranks.pids[LATE]} on " in ranks.errors[0]
    assert state in ranks.errors[0]
    assert "hint: if it only needs longer, raise `--hang-timeout`" in ranks.everything_said


def test_a_stuck_process_shows_where_its_threads_are_before_it_is_ended(tmp_path: Path) -> None:
    ranks, _ = run("get stuck", tmp_path)
    said = ranks.said(LATE)
    assert "process 1 makes no progress in round 3; its threads:" in said
    assert "in get_stuck" in said and "in work" in said


def test_a_process_that_is_slow_is_left_alone(tmp_path: Path) -> None:
    ranks, codes = run("be slow", tmp_path)
    assert codes == [0] * SIZE and ranks.errors == []


def ends(*acts: Callable[[Heartbeat, Heartbeat], None]) -> list[int]:
    """How processes end in which two hearts beat and one of `acts` is done; 0 if nobody is blamed for it."""
    children = []
    for act in acts:
        children.append(os.fork())
        if children[-1] == 0:
            store = HashStore()
            first, second = (Heartbeat(store, rank, 2) for rank in range(2))
            for heart in (first, second):
                heart.set_patience(0.5)
            time.sleep(FIRST_BEAT)
            act(first, second)
            time.sleep(1.5)
            os._exit(0)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_who_stands_still_is_blamed_but_not_who_rests_waits_or_has_left() -> None:
    def stand_still(first: Heartbeat, second: Heartbeat) -> None:
        second.beat("at work")

    def wait_then_stand_still(first: Heartbeat, second: Heartbeat) -> None:
        second.beat("at work")
        with second.resting():
            time.sleep(0.2)

    def rest(first: Heartbeat, second: Heartbeat) -> None:
        for heart in (first, second):
            heart.beat("at work")
            heart.rest()

    def wait(first: Heartbeat, second: Heartbeat) -> None:
        second.beat("at work")
        with second.resting():
            time.sleep(1.5)
        second.rest()

    def leave(first: Heartbeat, second: Heartbeat) -> None:
        second.beat("at work")
        second.end()

    killed = -signal.SIGKILL  # the process of whom is blamed: here, its own
    assert ends(rest, wait, leave, stand_still, wait_then_stand_still) == [0, 0, 0, killed, killed]
