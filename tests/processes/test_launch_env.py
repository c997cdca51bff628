"""What a process knows of its launcher, and what happens to it when the launcher dies."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from onelook.processes.launch_env import (
    LAUNCHED_BY,
    is_launched,
    launch_id,
    processes_here,
    restarts_so_far,
    shows_result,
    stop_with_launcher,
)

NAMES = ("RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_RUN_ID", LAUNCHED_BY)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (False, True, 0, "")),
        ({"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "x"}, (False, True, 0, "")),
        ({"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "1"}, (True, True, 0, "x")),
        ({"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "2"}, (True, False, 2, "")),
        ({"RANK": "0", "WORLD_SIZE": "2", LAUNCHED_BY: "1", "TORCHELASTIC_RUN_ID": "y"}, (True, False, 0, "y")),
    ],
)
def test_the_environment_says_who_this_is(
    environment: dict[str, str], expected: tuple[bool, bool, int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*NAMES, "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (is_launched(), shows_result(), restarts_so_far(), launch_id()) == expected


def test_a_launch_on_one_machine_is_not_taken_for_an_earlier_one_of_the_same_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`torchrun` calls every launch "none" that is given no name."""
    for name in (*NAMES, "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    ours = launch_id()
    assert ours == launch_id() and ours.startswith(f"none/{os.getppid()}/")
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert launch_id() != ours


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 1),
        ({"LOCAL_WORLD_SIZE": "4"}, 1),
        ({"RANK": "5", "WORLD_SIZE": "8"}, 8),
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, 4),
    ],
)
def test_the_environment_says_how_many_share_this_machine(
    environment: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*NAMES, "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes_here() == expected


def grandchild_ends(*, late: bool, launched: bool = True) -> str:
    """What a process says that asks to stop with its launcher, which dies before (`late`) or after that."""
    read, write = os.pipe()
    launcher = os.fork()
    if launcher == 0:
        asked_read, asked_write = os.pipe()
        number = os.getpid()
        if os.fork():
            if not late:
                os.read(asked_read, 1)
            os._exit(0)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(os.write(write, b"stopped") and 0))
        if launched:
            os.environ.update({"RANK": "1", "WORLD_SIZE": "2", LAUNCHED_BY: str(number)})
        while late and os.getppid() == number:
            time.sleep(0.01)
        stop_with_launcher()
        os.write(asked_write, b".")
        time.sleep(2)
        os.write(write, b"continued")
        os._exit(0)
    os.close(write)
    os.waitpid(launcher, 0)
    with os.fdopen(read) as said:
        return said.read()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tell a process of the death of its parent")
@pytest.mark.parametrize("late", [False, True])
def test_a_process_is_told_to_stop_when_its_launcher_has_died(late: bool) -> None:
    assert grandchild_ends(late=late) == "stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="see above")
def test_a_process_without_a_launcher_goes_on_when_its_parent_dies() -> None:
    assert grandchild_ends(late=False, launched=False) == "continued"
