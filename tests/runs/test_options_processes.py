"""Settings of several processes do what their text says; each test fails if one is ignored.

More of them have their tests in `test_many_processes.py` and `test_restarts.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from command_runs import Home, texts
from option_runs import Options, Trained, covers, fit

from onelook.cli.main import main
from onelook.errors import ProcessGroupError, SettingsError
from onelook.recipes.launch import train_on_devices

IN_PARTS = {"batch_size": 20, "micro_batch": 5}  # four micro-batches


@covers("train", "local_rank")
def test_a_rank_typed_by_an_old_launcher_is_checked(options: Options, plain: Trained) -> None:
    assert fit(options, local_rank=0).bits == plain.bits
    with pytest.raises(SettingsError, match="`local_rank` is 1, but the environment says 0"):
        fit(options, local_rank=1)


@covers("train", "micro_batch")
def test_micro_batch_is_the_most_that_goes_through_the_network(options: Options) -> None:
    run = fit(options, **{**IN_PARTS, "micro_batch": 7})
    assert [shape[0] for shape in run.trace.inputs[:3]] == [6, 7, 7]
    assert [step.num_images for step in run.trace.steps] == [20] and len(run.trace.updates) == 1


DIE = """
import os, signal, onelook
class Die(onelook.Callback):
    def on_step_end(self, event):
        if os.environ.get("RANK") == "0": os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow  # `test_restarts.py` has one that is started again
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@covers("train", "nproc", "max_restarts")
def test_processes_of_which_one_dies_are_started_again_as_often_as_asked(options: Options, tmp_path: Path) -> None:
    file = tmp_path / "die.py"
    file.write_text(DIE)
    with pytest.raises(ProcessGroupError, match=r"^process 0 was killed by SIGKILL\nhint"):
        train_on_devices({**options, "nproc": 2, "max_restarts": 0, "callbacks": [file]})
    assert json.loads((Path(str(options["project"])) / "exp/status.json").read_text())["exit_code"] == 70


@pytest.mark.slow  # `test_restarts.py` starts processes, `test_evaluator.py` shares a validation
@covers("val", "nproc")
def test_two_processes_share_a_validation(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    words = texts("val", "--weights", home.weights, "--data", home.yaml, "--img", 64, "--device", "cpu", "--nproc", 2)
    assert main([*words, "--workers", "0", "--noplots"]) == 0
    shown = capfd.readouterr().out
    assert "mAP50-95" in shown and shown.count("results are in") == 1
