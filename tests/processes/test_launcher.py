"""The launcher: what its processes are told, how it learns of their end, and how it passes signals on.

The processes are a shell script instead of Python: it starts in a millisecond, and does what a rank may do.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_ranks import require_loopback

from onelook.errors import DataError, OnelookError, ProcessGroupError, SettingsError, StopRequested
from onelook.processes import launcher
from onelook.processes.launch_env import LAUNCHED_BY
from onelook.processes.launcher import SECONDS_TO_SAVE, LaunchEnd, run_processes
from onelook.processes.stop_signal import REPEAT_SECONDS, StopSignal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the processes are shell scripts")
# The last argument is a folder; what comes before says what each rank does.
SCRIPT = """#!/bin/sh
for folder; do :; done
env > "$folder/env$RANK"; echo "$@" > "$folder/words$RANK"
trap 'echo TERM >> "$folder/signals$RANK"; exit 75' TERM
trap 'echo INT >> "$folder/signals$RANK"; exit 75' INT
trap 'echo USR1 >> "$folder/signals$RANK"; exit 75' USR1
touch "$folder/ready$RANK"
case "$3$RANK" in
  fail1|die1)  # when all listen to signals
    rank=0
    while [ $rank -lt $WORLD_SIZE ]; do [ -e "$folder/ready$rank" ] && rank=$((rank + 1)) || sleep 0.01; done ;;
esac
case "$3$RANK" in
  fail1) exit 65 ;;
  die1) kill -9 $$ ;;
  end*) exit 0 ;;
esac
while :; do sleep 0.02; done
"""


@pytest.fixture(autouse=True)
def script_instead_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_loopback()
    script = tmp_path / "python"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def run(what: str, folder: Path, count: int = 2, attempt: int = 0) -> LaunchEnd:
    return run_processes([what, "--data=a b.yaml", str(folder)], count, launch="abc", attempt=attempt)


def said(folder: Path, name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / name).read_text().splitlines() if "=" in line)


def signals(folder: Path, count: int = 2) -> list[list[str]]:
    """What each process got."""
    files = [folder / f"signals{rank}" for rank in range(count)]
    return [file.read_text().split() if file.exists() else [] for file in files]


def when_ready(folder: Path, act: Callable[[], None], count: int = 2) -> threading.Thread:
    """Do something, in a thread, as soon as all processes are there."""

    def wait_and_act() -> None:
        while not all((folder / f"ready{rank}").exists() for rank in range(count)):
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_the_processes_are_told_who_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("onelook.processes.launcher.threads_for", lambda count: 7 // count)
    assert run("end", tmp_path, count=3, attempt=2) == LaunchEnd({})
    for rank in range(3):
        found = said(tmp_path, f"env{rank}")
        expected = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "3",
            "LOCAL_WORLD_SIZE": "3",
            "MASTER_ADDR": "127.0.0.1",
            "TORCHELASTIC_RUN_ID": "abc",
            "TORCHELASTIC_RESTART_COUNT": "2",
            "OMP_NUM_THREADS": "2",
            LAUNCHED_BY: str(os.getpid()),
            "PYTHONSAFEPATH": "1",
        }
        assert {name: found[name] for name in expected} == expected
        assert (tmp_path / f"words{rank}").read_text() == f"-m onelook end --data=a b.yaml {tmp_path}\n"
    assert len({said(tmp_path, f"env{rank}")["MASTER_PORT"] for rank in range(3)}) == 1


def test_a_number_of_threads_that_the_user_has_set_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    run("end", tmp_path)
    assert said(tmp_path, "env1")["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(("what", "code"), [("fail", 65), ("die", -signal.SIGKILL)])
def test_when_one_fails_the_others_are_told_to_stop(tmp_path: Path, what: str, code: int) -> None:
    end = run(what, tmp_path, count=3)
    assert end.failures[1] == code and end.signal_name == ""
    assert set(end.failures.values()) <= {code, 75}
    assert all("TERM" in got for rank, got in enumerate(signals(tmp_path, 3)) if rank != 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_signal_is_passed_on_and_named(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    thread = when_ready(tmp_path, lambda: os.kill(os.getpid(), number))
    end = run("wait", tmp_path)
    thread.join()
    assert end == LaunchEnd({}, number.name)
    assert signals(tmp_path) == [[number.name[3:]]] * 2
    assert signal.getsignal(number) is before


def test_a_signal_that_comes_twice_at_once_counts_once(tmp_path: Path) -> None:
    """`timeout`, for one, sends it to a process and to its group."""

    def twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(REPEAT_SECONDS / 5)

    thread = when_ready(tmp_path, twice)
    end = run("wait", tmp_path)
    thread.join()
    assert end == LaunchEnd({}, "SIGTERM") and signals(tmp_path) == [["TERM"]] * 2


def test_a_signal_before_the_start_starts_nothing(tmp_path: Path) -> None:
    with StopSignal():
        signal.raise_signal(signal.SIGTERM)
        assert run("end", tmp_path) == LaunchEnd({}, "SIGTERM")
    assert not list(tmp_path.glob("ready*"))


def test_processes_that_do_not_stop_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "SECONDS_TO_SAVE", 1)
    script = Path(sys.executable)
    script.write_text(SCRIPT.replace("trap 'echo TERM >> \"$folder/signals$RANK\"; exit 75' TERM", "trap '' TERM"))
    thread = when_ready(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    begun = time.monotonic()
    assert run("wait", tmp_path) == LaunchEnd({}, "SIGTERM")
    thread.join()
    assert time.monotonic() - begun < SECONDS_TO_SAVE, "the patience of the test counts, not that of users"


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    environment = dict(os.environ)
    run("fail", tmp_path)
    assert list(folder.iterdir()) == [] and dict(os.environ) == environment


def test_a_second_signal_ends_the_processes_and_the_launcher_at_once(tmp_path: Path) -> None:
    script = Path(sys.executable)
    script.write_text(SCRIPT.replace("trap 'echo TERM >> \"$folder/signals$RANK\"; exit 75' TERM", "trap '' TERM"))
    launching = os.fork()
    if launching == 0:
        run("wait", tmp_path)
        os._exit(99)
    for _ in range(2):
        while not all((tmp_path / f"ready{rank}").exists() for rank in range(2)):
            time.sleep(0.01)
        os.kill(launching, signal.SIGTERM)
        time.sleep(2 * REPEAT_SECONDS)
    assert os.waitstatus_to_exitcode(os.waitpid(launching, 0)[1]) == 128 + signal.SIGTERM
    assert not children_of(launching)


@pytest.mark.parametrize(
    ("end", "raised"),
    [
        (LaunchEnd({0: SettingsError.exit_code, 1: SettingsError.exit_code}), SettingsError),
        (LaunchEnd({0: StopRequested.exit_code, 1: DataError.exit_code}), DataError),
        (LaunchEnd({}, "SIGTERM"), StopRequested),
        (LaunchEnd({0: StopRequested.exit_code, 1: StopRequested.exit_code}), StopRequested),
        (LaunchEnd({0: -signal.SIGKILL, 1: StopRequested.exit_code}), None),
        (LaunchEnd({0: -signal.SIGKILL, 1: ProcessGroupError.exit_code}), None),
        (LaunchEnd({1: 1}), None),
    ],
    ids=["settings", "data", "signal", "both stopped", "killed and stopped", "killed and lost", "unknown"],
)
def test_what_only_the_user_can_mend_restarts_nothing(end: LaunchEnd, raised: type[OnelookError] | None) -> None:
    if raised is None:
        end.raise_if_final()
        return
    with pytest.raises(raised) as problem:
        end.raise_if_final()
    assert problem.value.is_told, "the processes have said it"


def children_of(launching: int) -> list[str]:
    """The living processes that a launcher has told its number."""
    told = f"{LAUNCHED_BY}={launching}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if told in (place / "environ").read_bytes().split(b"\0"):
                found.append(place.name)
        except OSError:
            continue  # it has ended, or is not ours to see
    return found
