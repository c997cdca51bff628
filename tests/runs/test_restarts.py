"""Processes that die, hang or are told to stop, and launchers that die: the run ends as it would have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked_ranks import ranks_below, require_loopback, run_command, start_command, start_ranks
from option_runs import covers
from rank_faults import At, die, freeze, get_stuck
from rank_runs import (
    differences,
    in_processes,
    is_alive,
    rows,
    settings_of_20_steps,
    status,
    steps_done,
    trained,
    wait_for,
)

from onelook.errors import CheckpointError, RunFolderError, StopRequested
from onelook.recipes.launch import train_on_devices
from onelook.recipes.train import train
from onelook.runs.own_checkpoints import load_newest
from onelook.runs.run_dir import RunDir
from onelook.settings.command_line import as_arguments

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are examined through /proc")
Options = dict[str, Any]
VARIED = {"nominal_batch": 4, "multi_scale": True, "auto_balance": True}
STANDALONE = ("--standalone", "--nproc-per-node", "2")
KILL = """
import os
from forked_ranks import ranks_below
from onelook import Callback

class Kill(Callback):
    # Sends a signal to a process at a step of one attempt.
    def on_step_end(self, event):
        step, rank, number, attempt = map(int, os.environ["KILL"].split())
        if (step, attempt) == (event.step, int(os.environ["TORCHELASTIC_RESTART_COUNT"])):
            os.kill(ranks_below(os.getppid())[rank], number)
"""
KILL_IN_PHASE = """
import os, signal, sys
from pathlib import Path

function, count, rank, number = os.environ["KILL_IN_PHASE"].split()
left = int(count)

def kill(frame, event, argument):
    global left
    if event == "call" and frame.f_code.co_name == function and "onelook" in frame.f_code.co_filename:
        if (os.environ.get("RANK"), os.environ.get("TORCHELASTIC_RESTART_COUNT")) == (rank, "0"):
            left -= 1
            if left == 0:
                Path(__file__).with_name("killed").write_text(function)
                os.kill(os.getpid(), int(number))

sys.setprofile(kill)
"""
HOLD = """
import time
from pathlib import Path
from onelook import Callback

class Hold(Callback):
    # Says how far the run is, and gives the test time to look.
    def on_step_end(self, event):
        Path(__file__).with_suffix(".step").write_text(f"{event.step}")
        time.sleep(0.1)
"""

SLOW_DISK = """
import os, time
from onelook import Callback

flush = os.fsync

def slow_flush(descriptor):
    os.fsync = flush
    time.sleep(5)
    flush(descriptor)

class SlowDisk(Callback):
    # For the checkpoint of one step.
    def on_step_end(self, event):
        os.fsync = slow_flush if event.step == 1 else flush
"""


@pytest.fixture
def settings(tiny_data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    """A run of 20 steps for two processes, which may import what is in the folder of the tests."""
    require_loopback()
    support = str(Path(__file__).parents[1] / "support")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([support, os.environ.get("PYTHONPATH", "")]))
    return {**settings_of_20_steps(tiny_data, tiny_model), **VARIED, "project": tmp_path / "runs"}


@pytest.fixture
def run(settings: Options) -> Path:
    """The folder of the run."""
    return Path(settings["project"]) / "exp"


@pytest.fixture(scope="module")
def undisturbed(tiny_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in one process, which nothing happens to."""
    settings = {**settings_of_20_steps(tiny_data, tiny_model), **VARIED, "micro_batch": 2}
    return trained(1, settings, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def killed(settings: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Options]:
    """Gives the settings of a run in two processes of which one gets a signal."""
    (file := tmp_path / "kill.py").write_text(KILL)

    def plan(step: int, rank: int, number: int = signal.SIGKILL, attempt: int = 0) -> Options:
        monkeypatch.setenv("KILL", f"{step} {rank} {int(number)} {attempt}")
        return {**settings, "nproc": 2, "callbacks": [str(file)], "save_interval": 0}

    return plan


@covers("train", "hang_timeout")
@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (At(1, 7, freeze), "has given no sign of life for 4 s; it was "),
        pytest.param(
            At(1, 7, get_stuck), "has made no progress for 4 s; it was in epoch 1, batch 1", marks=pytest.mark.slow
        ),
        (At(0, 2, get_stuck, training=False), "has made no progress for 4 s; it was in a validation, after "),
    ],
    ids=["frozen", "stuck in training", "stuck in a validation"],
)
def test_a_process_that_hangs_is_named_within_the_time_that_was_set(
    fault: At, state: str, settings: Options, run: Path
) -> None:
    ranks = in_processes(2, {**settings, "hang_timeout": 4}, run.parent, faults=fault)
    codes = ranks.join()
    assert (codes[fault.rank], codes[1 - fault.rank]) == (-signal.SIGKILL, 70), ranks.everything_said
    assert len(ranks.errors) == 1
    assert f"error: process {fault.rank} (pid {ranks.pids[fault.rank]} on " in ranks.errors[0]
    assert state in ranks.errors[0]
    shows_stacks = "its threads:" in ranks.said(fault.rank) and "in get_stuck" in ranks.said(fault.rank)
    assert shows_stacks == (fault.act is get_stuck)


def test_what_takes_long_is_no_hang(settings: Options, run: Path, tmp_path: Path) -> None:
    """One process is slow; it and the one that waits for it stand still for less than the time that is set."""
    (file := tmp_path / "hold.py").write_text(HOLD.replace("sleep(0.1)", "sleep(0.5)"))
    wanted = {**settings, "hang_timeout": 4, "epochs": 2, "callbacks": [file]}
    ranks = in_processes(2, wanted, run.parent)
    assert ranks.join() == [0, 0] and ranks.errors == [], ranks.everything_said


def test_a_checkpoint_that_takes_longer_than_a_hang_is_no_hang(settings: Options, run: Path, tmp_path: Path) -> None:
    """The disk needs 5 s for a file; process 0 alone writes, the other waits for it."""
    file = tmp_path / "slow_disk.py"
    file.write_text(SLOW_DISK)
    wanted = {**settings, "hang_timeout": 4, "epochs": 1, "callbacks": [file], "save_interval": 0}
    ranks = in_processes(2, wanted, run.parent)
    assert ranks.join() == [0, 0] and ranks.errors == [], ranks.everything_said


def test_a_run_of_which_a_process_is_killed_ends_as_the_undisturbed_one(
    settings: Options, run: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The processes are started as a launcher does it, twice; the launcher's own part is in `test_launch.py`."""
    words = ["train", *as_arguments({**settings, "save_interval": 0})]
    told = {"TORCHELASTIC_RUN_ID": "abc", "TORCHELASTIC_RESTART_COUNT": "0"}
    first = start_ranks(run_command, 2, tmp_path / "first", arguments=(words, At(1, 8, die)), environment=told)
    assert first.join()[1] == -signal.SIGKILL, first.everything_said
    assert 1 <= load_newest(RunDir(run)).document["progress"]["step"] < 8, "somewhere before the kill"
    told["TORCHELASTIC_RESTART_COUNT"] = "1"
    again = start_ranks(run_command, 2, tmp_path / "again", arguments=(words,), environment=told)
    assert again.join() == [0, 0] and "resuming at epoch " in again.said(0), again.everything_said
    assert differences(undisturbed, run) == []
    assert status(run) == ("finished", 0)


@pytest.mark.slow  # the launcher in `test_launch.py`, its processes in the test before this one
def test_a_launcher_restarts_a_run_of_which_a_process_is_killed(
    killed: Callable[..., Options], undisturbed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = train_on_devices(killed(9, 1))
    assert "process 1 was killed by SIGKILL; restarting from the newest checkpoint (restart 1)" in caplog.text
    assert differences(undisturbed, result.run_folder) == []
    assert status(result.run_folder) == ("finished", 0)


@pytest.mark.slow
def test_a_restart_in_a_reused_folder_begins_again_and_not_where_the_run_before_had_ended(
    killed: Callable[..., Options], settings: Options, undisturbed: Path
) -> None:
    older = train({**settings, "nproc": 1, "lr0": 0.02, "epochs": 8}).run_folder
    result = train_on_devices({**killed(3, 1), "exist_ok": True, "nosave": True})
    assert result.run_folder == older
    assert differences(undisturbed, result.run_folder) == []


PHASES_OF_BOTH = [("scan_split", 1), ("train_step", 1), ("train_step", 12), ("_validate", 2), ("measure_best", 1)]
PHASES_OF_FIRST = [
    ("begin", 1), ("_write_beginning", 1), ("save_checkpoint", 1), ("save_checkpoint", 3), ("_second_name", 1),
    ("draw_evaluation", 1), ("write_status", 1), ("report_finished_run", 1),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("is_reused", [False, True], ids=["new folder", "reused folder"])
@pytest.mark.parametrize(
    ("function", "count", "rank"),
    [(*phase, rank) for rank in (0, 1) for phase in PHASES_OF_BOTH] + [(*phase, 0) for phase in PHASES_OF_FIRST],
)
def test_two_processes_of_which_one_is_killed_in_any_phase_end_as_the_undisturbed_run(
    function: str, count: int, rank: int, is_reused: bool, number: signal.Signals, settings: Options, run: Path,
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if is_reused:
        train({**settings, "nproc": 1, "lr0": 0.02, "epochs": 8})
    (tmp_path / "sitecustomize.py").write_text(KILL_IN_PHASE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("KILL_IN_PHASE", f"{function} {count} {rank} {int(number)}")
    wanted = {**settings, "nproc": 2, "save_interval": 0, "noplots": False, "noreport": False}
    wanted["exist_ok"] = is_reused
    try:
        train_on_devices(wanted)  # goes on by itself after a kill
    except StopRequested:
        assert number == signal.SIGTERM
        monkeypatch.setenv("KILL_IN_PHASE", "nothing 0 -1 0")
        try:
            train({"resume": str(run), "nproc": 0})
            is_begun = function not in ("scan_split", "begin")
        except (CheckpointError, RunFolderError):  # it has not come to a checkpoint of its own, or to a folder
            is_begun = False
        if not is_begun:
            train_on_devices({**wanted, "exist_ok": True})
    assert (tmp_path / "killed").exists(), "the phase was never reached"
    if (function, is_reused, number) == ("begin", False, signal.SIGKILL):
        assert {path.name for path in run.iterdir()} <= {".lock"}, "whose folder this is was not written yet"
        run = run.with_name("exp2")
    assert status(run) == ("finished", 0)
    assert differences(undisturbed, run) == []
    assert not [path for path in run.rglob("*") if "onelook-tmp" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_runs_killed_at_random_steps_end_as_the_undisturbed_one(
    seed: int, killed: Callable[..., Options], undisturbed: Path
) -> None:
    rng = np.random.default_rng(seed)
    step, rank = int(rng.integers(1, 20)), int(rng.integers(2))
    result = train_on_devices(killed(step, rank))
    assert differences(undisturbed, result.run_folder) == [], f"process {rank} was killed at step {step}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_runs_killed_at_random_instants_end_as_the_undisturbed_one(
    seed: int, settings: Options, run: Path, tmp_path: Path, undisturbed: Path
) -> None:
    rng = np.random.default_rng(seed)
    launcher = start_command(["train", *as_arguments({**settings, "nproc": 2, "workers": 1})], tmp_path / "said")
    for _ in range(2):
        wait_for(lambda: len(ranks_below(launcher.pids[0])) == 2 or not launcher.processes[0].is_alive())
        launcher.processes[0].join(float(rng.uniform(0, 8)))
        victim = ranks_below(launcher.pids[0]).get(int(rng.integers(2)))
        if victim is not None:
            os.kill(victim, signal.SIGKILL)
    assert launcher.join() == [0], launcher.everything_said
    assert differences(undisturbed, run) == []


@pytest.mark.slow
def test_a_run_of_which_a_process_freezes_goes_on_by_itself(
    killed: Callable[..., Options], undisturbed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    result = train_on_devices({**killed(9, 1, signal.SIGSTOP), "hang_timeout": 5})
    assert "has given no sign of life for 5 s" in capfd.readouterr().err
    assert time.monotonic() - begun < 120
    assert differences(undisturbed, result.run_folder) == []


@pytest.mark.slow
def test_an_error_that_only_the_user_can_mend_restarts_nothing(settings: Options, run: Path, tmp_path: Path) -> None:
    launcher = start_command(["train", *as_arguments({**settings, "batch_size": 5, "nproc": 2})], tmp_path / "said")
    assert launcher.join() == [64], launcher.everything_said
    assert len(launcher.errors) == 1 and "restart" not in launcher.everything_said
    assert not run.exists()


@pytest.mark.slow
def test_a_launcher_that_is_told_to_stop_or_killed_leaves_a_run_that_can_go_on_and_nobody_behind(
    settings: Options, run: Path, tmp_path: Path, undisturbed: Path
) -> None:
    """First a signal to it and to its group, as batch systems send it; then, gone on with, a kill."""
    (hold := tmp_path / "hold.py").write_text(HOLD)
    wanted = {**settings, "callbacks": [str(hold)], "nproc": 2}
    launcher = start_command(["train", *as_arguments(wanted)], tmp_path / "said")
    wait_for(lambda: rows(run) > 0)
    ranks = ranks_below(launcher.pids[0])
    os.kill(launcher.pids[0], signal.SIGTERM)
    for number in (launcher.pids[0], *ranks.values()):
        os.kill(number, signal.SIGTERM)
    assert launcher.join() == [75], launcher.everything_said
    assert launcher.everything_said.count("stopped on request of SIGTERM") == 1
    assert not any(map(is_alive, ranks.values()))
    assert status(run) == ("stopped", 75)

    before = rows(run)
    launcher = start_command(["train", f"--resume={run}", f"--callbacks={hold}"], tmp_path / "again")
    step = hold.with_suffix(".step")
    wait_for(lambda: rows(run) > before and step.read_text()[-1:] in {"2", "7"})  # in the middle of an epoch
    ranks, done = ranks_below(launcher.pids[0]), int(step.read_text())
    assert len(ranks) == 2
    os.kill(launcher.pids[0], signal.SIGKILL)
    wait_for(lambda: status(run) == ("stopped", 75), 2)
    assert steps_done(run) >= done, "they save before they end"
    wait_for(lambda: not any(map(is_alive, ranks.values())), 20)  # without torch, Python ends at once
    train({"resume": str(run), "nproc": 0})
    assert differences(undisturbed, run) == []


@pytest.mark.slow
def test_a_second_signal_to_a_launcher_ends_it_and_its_processes_at_once(settings: Options, tmp_path: Path) -> None:
    """While process 1 stands still, the others wait for it, and the launcher waits for them."""
    file = tmp_path / "stuck.py"
    file.write_text(HOLD.replace("sleep(0.1)", "sleep(600) if event.step == 3 else print(event.step, flush=True)"))
    wanted = {**settings, "callbacks": [str(file)], "nproc": 2}
    launcher = start_command(["train", *as_arguments(wanted)], tmp_path / "said")
    wait_for(lambda: "2\n" in launcher.said(0))
    ranks = ranks_below(launcher.pids[0])
    os.kill(launcher.pids[0], signal.SIGTERM)
    launcher.processes[0].join(1)
    assert is_alive(launcher.pids[0]) and all(map(is_alive, ranks.values()))
    os.kill(launcher.pids[0], signal.SIGTERM)
    assert launcher.join(5) == [143]
    wait_for(lambda: not any(map(is_alive, ranks.values())), 2)


def torchrun(settings: Options, *words: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Torch's launcher instead of ours."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *words, "-m", "onelook", "train", *as_arguments(settings)],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_torchrun_is_another_launcher(killed: Callable[..., Options], run: Path, undisturbed: Path) -> None:
    """A process is killed; torchrun restarts all, and they resume from the newest checkpoint."""
    wanted = killed(17, 1)
    del wanted["nproc"]
    process = torchrun(wanted, *STANDALONE, "--max-restarts", "2")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "resuming at epoch " in said
    assert differences(undisturbed, run) == []


@pytest.mark.slow
def test_a_stop_reaches_the_processes_of_torchrun(settings: Options, run: Path, undisturbed: Path) -> None:
    process = torchrun(settings, *STANDALONE)
    wait_for(lambda: rows(run) > 0)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and status(run) == ("stopped", 75), said
    train({"resume": str(run)})
    assert differences(undisturbed, run) == []


@pytest.mark.slow
def test_two_machines_are_one_run(settings: Options, run: Path, undisturbed: Path) -> None:
    """Two launchers that meet at an address; here, both on this machine."""
    address = f"127.0.0.1:{29000 + os.getpid() % 2000}"
    meeting = ("--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", address)
    local = {"GLOO_SOCKET_IFNAME": "lo"}
    processes = [torchrun(settings, *meeting, environment=local) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert differences(undisturbed, run) == []
