"""What happens to a training when its processes end: it restarts, or ends for the reason that they gave.

The processes are a shell script instead of Python: process 1 ends in some way, and the launcher then stops process 0.
"""

from __future__ import annotations

import sys
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from forked_ranks import require_loopback

from onelook.errors import DataError, OnelookError, ProcessGroupError, StopRequested
from onelook.recipes.launch import train_on_devices
from onelook.recipes.train import train
from onelook.recipes.train_result import TrainResult

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the processes are shell scripts")
SCRIPT = """#!/bin/sh
[ $TORCHELASTIC_RESTART_COUNT = 0 ] || AGAIN
trap 'exit FIRST' TERM
touch {folder}/$RANK
while [ ! -e {folder}/0 ] || [ ! -e {folder}/1 ]; do sleep 0.01; done
[ $RANK = 0 ] || SECOND
while :; do sleep 0.02; done
"""
RESTARTED = "^the processes finished, but their run folder cannot be found$"


def train_with(tmp_path: Path, first: int, second: str, again: str = "exit 0", **more: Any) -> TrainResult:
    """Process 0 ends with code `first` when it is told to stop; process 1 does `second`; both do `again`, restarted."""
    require_loopback()
    python = tmp_path / "python"
    parts = {"{folder}": str(tmp_path), "FIRST": str(first), "SECOND": second, "AGAIN": again}
    python.write_text(reduce(lambda text, part: text.replace(*part), parts.items(), SCRIPT))
    python.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(python))
        given = {"data": "a.yaml", "nproc": 2, "device": "cpu", "project": tmp_path / "runs"}
        return train_on_devices({**given, **more})


@pytest.mark.parametrize(
    ("device", "count", "message"),
    [
        ("0", 2, "`nproc` is 2, but `device` is `0`, and each process needs a GPU of its own"),
        ("cuda", 2, "`nproc` is 2, but `device` is `cuda`, and each process needs a GPU of its own"),
        ("", 3, "^process 2 needs a GPU of its own, but this machine has 2 usable GPUs"),
        ("0,2", 0, "this machine has 2 usable GPUs"),
    ],
)
def test_processes_without_a_gpu_each_are_refused_before_they_start(
    device: str, count: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(OnelookError, match=message):
        train_with(tmp_path, 75, "exit 65", device=device, nproc=count)
    assert not (tmp_path / "0").exists()


@pytest.mark.parametrize("first", [70, 75, 1])
@pytest.mark.parametrize(
    ("second", "how"), [("kill -9 $$", "was killed by SIGKILL"), ("exit 1", "ended with exit code 1")]
)
def test_a_process_that_died_is_named_and_all_start_again_whatever_the_others_did(
    first: int, second: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ProcessGroupError, match=RESTARTED):
        train_with(tmp_path, first, second)
    if first != 1:
        assert f"process 1 {how}; restarting from the newest checkpoint (restart 1)" in caplog.text


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [(75, "exit 65", DataError), (70, "exit 65", DataError), (75, "exit 75", StopRequested)],
)
def test_a_reason_that_stays_ends_the_run(first: int, second: str, kind: type[OnelookError], tmp_path: Path) -> None:
    with pytest.raises(
        kind, match=f"^process . ended with exit code {kind.exit_code}: see its message above$"
    ) as caught:
        train_with(tmp_path, first, second)
    assert caught.value.is_told


def test_a_run_that_was_started_again_gives_the_result_of_its_folder(
    tiny_data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """The processes of the second attempt leave a finished run behind."""
    given = {"data": tiny_data, "cfg": tiny_model, "epochs": 1, "imgsz": 64, "workers": 0, "device": "cpu"}
    made = train({**given, "noplots": True, "noreport": True, "project": tmp_path / "made"})
    run = tmp_path / "runs" / "exp"
    finish = f'sed -i "s/LAUNCH/$TORCHELASTIC_RUN_ID/" {made.run_folder}/status.json && mv {made.run_folder} {run}'
    status = made.run_folder / "status.json"
    content = status.read_text()
    assert '"launch": ""' in content
    status.write_text(content.replace('"launch": ""', '"launch": "LAUNCH"'))
    (tmp_path / "runs").mkdir()
    found = train_with(tmp_path, 75, "kill -9 $$", again=f"{{ [ $RANK = 1 ] || {{ {finish}; }}; exit; }}")
    assert (found.run_folder, found.metrics.map50_95) == (run, made.metrics.map50_95)


def test_a_run_is_started_again_as_often_as_was_set(tmp_path: Path) -> None:
    with pytest.raises(ProcessGroupError, match=r"^process 1 was killed by SIGKILL\nhint") as caught:
        train_with(tmp_path, 75, "kill -9 $$", max_restarts=0)
    assert caught.value.hint == "see the messages above; `--resume` continues from the newest checkpoint"
