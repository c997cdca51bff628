"""Every setting of training in several processes does what its text says; each test fails if it is ignored."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from command_runs import Home
from option_runs import Options, Trained, covers, fit
from torch import Tensor

from onelook.errors import ProcessGroupError, SettingsError
from onelook.recipes.launch import train_on_devices, validate_on_devices
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.runs.run_dir import RunDir

IN_PARTS = {"batch_size": 20, "micro_batch": 5}  # four shards


def train_as(environment: Mapping[str, str], options: Options) -> None:
    os.environ.update(environment)
    train(options)


def train_in_two(options: Options) -> dict[str, Tensor]:
    """The weights that two processes come to, forked from a server that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["onelook.recipes.train"])
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    environments = [{**common, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    processes = [context.Process(target=train_as, args=(each, options)) for each in environments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return load_checkpoint(Path(str(options["project"])) / "exp/weights/last.safetensors").tensors_below("model/")


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


@covers("train", "strict_reduce")
def test_strict_reduce_adds_in_the_order_of_one_process(options: Options, tmp_path: Path) -> None:
    alone = fit(options, **IN_PARTS).tensors("model/")
    two = train_in_two({**options, **IN_PARTS, "strict_reduce": True, "project": tmp_path / "two"})
    assert all(torch.equal(alone[name], two[name]) for name in alone)


@covers("train", "sync_bn")
def test_sync_bn_sees_the_batches_of_all_processes_as_one(options: Options, plain: Trained, tmp_path: Path) -> None:
    alone = plain.tensors("model/")
    two = train_in_two({**options, "sync_bn": True, "project": tmp_path / "two"})
    assert all(torch.allclose(alone[name], two[name], rtol=1e-4) for name in alone if name.endswith("running_var"))


FREEZE = """
import os, signal, onelook
class Freeze(onelook.Callback):
    def on_step_end(self, event):
        if "RANK" in os.environ: os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
@covers("train", "nproc", "hang_timeout", "max_restarts")
def test_a_process_that_hangs_is_ended_and_started_again_as_often_as_asked(
    options: Options, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "freeze.py"
    file.write_text(FREEZE)
    given = {**options, "nproc": 2, "hang_timeout": 5, "max_restarts": 0, "callbacks": [file]}
    with pytest.raises(ProcessGroupError, match="process 0 was killed by SIGKILL\nhint"):
        train_on_devices(given)
    assert "gives no sign of life since 5 s" in capfd.readouterr().err


@covers("val", "nproc")
def test_two_processes_share_a_validation(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    given = {"weights": home.weights, "data": home.yaml, "imgsz": 64, "workers": 0, "device": "cpu", "noplots": True}
    assert isinstance(validate_on_devices({**given, "nproc": 2}), RunDir)
    shown = capfd.readouterr().out
    assert "mAP50-95" in shown and shown.count("everything is in") == 1
