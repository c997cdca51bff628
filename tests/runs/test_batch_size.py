"""`batch_size: -1`: a number is found and stored, the run is the one that this number gives, and it keeps the limit."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from command_runs import Home
from forked_ranks import fork
from option_runs import Options, Trace, Trained, covers, fit

from onelook.errors import StopRequested
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.training.callback import Callback, StepEnd

MIB = 2**20


class StopAfterOneBatch(Callback):
    """Sends this process a signal."""

    def on_step_end(self, event: StepEnd) -> None:
        if event.step == 1:
            signal.raise_signal(signal.SIGTERM)


@covers("train", "batch_size")
def test_a_found_batch_size_is_stored_kept_on_resuming_and_gives_the_run_of_that_size(
    home: Home, options: Options, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Of four images, one batch of `quad`: one trial will do, which is a process."""
    home.describe("train: images/val\nval: images/test\nnames: [square, disc]\n")
    for number in (4, 5):
        home.image("val", number).unlink()
    options = {**options, "data": home.yaml, "epochs": 2, "batch_size": 4, "quad": True}
    given = fit(options, project=tmp_path / "given")
    with caplog.at_level("INFO", "onelook"), pytest.raises(StopRequested):
        train({**options, "batch_size": -1, "project": tmp_path / "found"}, callbacks=[StopAfterOneBatch()])
    assert "batch size 4: a process will take up to " in caplog.text, "all images, as memory is plentiful"
    folder = tmp_path / "found" / "exp"
    assert "\nbatch_size: 4\n" in (folder / "settings.yaml").read_text()
    caplog.clear()
    with caplog.at_level("INFO", "onelook"):
        resumed = Trained(train({"resume": str(folder)}), Trace())
    assert "trying batch sizes" not in caplog.text
    assert resumed.bits == given.bits, "the search leaves weights and random numbers alone"


def _train_as(environment: Mapping[str, str], options: Options) -> None:
    os.environ.update(environment)
    train(options)


@pytest.mark.slow
def test_processes_find_one_batch_size_that_they_can_share(options: Options, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    common = {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    environments = [{**common, "RANK": rank, "LOCAL_RANK": rank} for rank in "012"]
    options = {**options, "batch_size": -1}
    processes = [fork(_train_as, each, options) for each in environments]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    last = load_checkpoint(tmp_path / "runs/exp/weights/last.safetensors")
    assert last.document["settings"]["batch_size"] == 18, "20 images, 3 processes"


PROGRAM = """
import json, resource, sys
from pathlib import Path
limit, options = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from onelook.processes.memory import memory_use
from onelook.recipes.train import train
result = train(options)
print(json.dumps([memory_use().peak_address_space, str(result.run_folder)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit_mib", [2400, 3000])
def test_a_run_uses_most_of_a_limit_and_keeps_it(options: Options, limit_mib: int) -> None:
    """No guard and no `-m`: the script is not started again by the processes that try batches."""
    options = {**options, "cfg": "yolov5n", "imgsz": 640, "batch_size": -1, "epochs": 3, "noplots": False}
    given = json.dumps([limit_mib * MIB, options], default=str)
    ended = subprocess.run([sys.executable, "-c", PROGRAM, given], capture_output=True, text=True, check=True)
    peak, folder = json.loads(ended.stdout.splitlines()[-1])
    settings = load_checkpoint(Path(folder) / "weights" / "last.safetensors").document["settings"]
    assert 1 < settings["batch_size"] < 20, "the limit decides, not the number of images"
    assert "out of memory" not in ended.stderr
    assert 0.7 * limit_mib * MIB <= peak <= limit_mib * MIB
