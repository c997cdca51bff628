"""What goes wrong in one process of a run reaches all: one message, one exit code, or a run that continues together."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forked_ranks import Faults, Ranks, require_loopback, run_command, start_ranks
from option_runs import NO_AUGMENTATION
from rank_faults import At, Delete, Send, get_stuck, run_out_of_memory, run_out_of_memory_on_the_cpu
from rank_runs import (
    differences,
    in_processes,
    is_alive,
    settings_of_20_steps,
    status,
    trained,
    wait_for,
    weights,
)

import onelook
from onelook.data.sampler import EpochOrder
from onelook.processes.stop_signal import REPEAT_SECONDS
from onelook.recipes.train import train
from onelook.settings.command_line import as_arguments
from onelook.training import agreement

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are examined through /proc")
Options = dict[str, Any]
VARIED = {"multi_scale": True, "auto_balance": True}


@pytest.fixture
def settings(tiny_data: Path, tiny_model: Path) -> Options:
    """A run of 10 steps for two processes."""
    require_loopback()
    return {**settings_of_20_steps(tiny_data, tiny_model), **VARIED, "epochs": 2}


@pytest.fixture(scope="module")
def undisturbed(tiny_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in one process, which nothing happens to."""
    settings = {**settings_of_20_steps(tiny_data, tiny_model), **VARIED, "epochs": 2, "micro_batch": 2}
    return trained(1, settings, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def own_data(settings: Options, tmp_path: Path) -> Options:
    """The same settings with a copy of the dataset, which may be changed."""
    shutil.copytree(Path(settings["data"]).parent, tmp_path / "data")
    return {**settings, "data": tmp_path / "data" / "data.yaml"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of the run that `start` begins."""
    return tmp_path / "runs" / "exp"


def start(settings: Options, run: Path, faults: Faults | None = None) -> Ranks:
    return in_processes(2, settings, run.parent, faults=faults)


def delete_an_image_of_process_1(settings: Options) -> At:
    """One that it has not seen yet when it is at its third batch."""
    images = sorted((Path(settings["data"]).parent / "images" / "train").iterdir())
    order = EpochOrder(seed=0, num_images=len(images), batch_size=4, epochs=1, rank=1, world_size=2)
    return At(1, 3, Delete(images[list(order)[4][0][0].number]))


def spoil_a_label(settings: Options) -> str:
    """Its name; it has a class that the dataset does not have."""
    label = next((Path(settings["data"]).parent / "labels" / "train").iterdir())
    label.write_text("7 0.5 0.5 0.1 0.1\n")
    return label.name


def test_an_image_that_vanishes_from_the_share_of_one_process_ends_all(own_data: Options, run: Path) -> None:
    plain = {**own_data, **NO_AUGMENTATION, "multi_scale": False, "cache": "none"}
    ranks = start(plain, run, delete_an_image_of_process_1(plain))
    assert ranks.join() == [65, 65], ranks.everything_said
    assert len(ranks.errors) == 1 and ".jpg` cannot be opened" in ranks.errors[0]
    assert status(run) == ("failed", 65)


def test_bad_data_are_refused_once_before_anything_is_written(own_data: Options, run: Path) -> None:
    name = spoil_a_label(own_data)
    ranks = start({**own_data, "strict": True}, run)
    assert ranks.join() == [65, 65], ranks.everything_said
    assert len(ranks.errors) == 1 and name in ranks.everything_said
    assert not run.exists()


def test_numbers_that_are_not_finite_end_all_with_one_message(settings: Options, run: Path) -> None:
    wild = {**NO_AUGMENTATION, "box": 1e38, "lr0": 0.99, "optimizer": "SGD", "epochs": 60, "noval": True}
    ranks = start({**settings, **wild}, run)
    assert ranks.join() == [66, 66], ranks.everything_said
    assert len(ranks.errors) == 1 and "updates in a row had gradients that are not finite" in ranks.errors[0]
    assert status(run) == ("failed", 66)


def test_a_batch_that_two_processes_cannot_share_is_refused_with_what_they_can(settings: Options, run: Path) -> None:
    ranks = start({**settings, "batch_size": 5}, run)
    assert ranks.join() == [64, 64], ranks.everything_said
    assert len(ranks.errors) == 1
    assert "`batch_size` is 5, which 2 processes cannot share evenly" in ranks.errors[0]
    assert "use `--batch-size 6`, or one of these numbers of processes: 1, 5" in ranks.everything_said
    assert not run.exists()


@dataclass(frozen=True)
class Otherwise:
    """The command line, but process 1 gets more words, or has another Onelook."""

    words: tuple[str, ...] = ()
    code: Path | None = None

    def __call__(self, words: list[str]) -> int:
        if os.environ["RANK"] == "0":
            return run_command(words)
        if self.code is not None:
            agreement.__file__ = str(self.code / "recipes" / "agreement.py")
        return run_command([*words, *self.words])


def other_settings(settings: Options, folder: Path) -> Otherwise:
    return Otherwise(("--lr0=0.003",))


def other_data(settings: Options, folder: Path) -> Otherwise:
    shutil.copytree(Path(settings["data"]).parent, folder)
    next((folder / "labels" / "train").iterdir()).write_text("0 0.5 0.5 0.25 0.25\n")
    return Otherwise((f"--data={folder / 'data.yaml'}",))


def other_model(settings: Options, folder: Path) -> Otherwise:
    folder.with_suffix(".yaml").write_text(Path(settings["cfg"]).read_text().replace("[16, 3, 2]", "[24, 3, 2]"))
    return Otherwise((f"--cfg={folder.with_suffix('.yaml')}",))


def other_code(settings: Options, folder: Path) -> Otherwise:
    shutil.copytree(Path(str(onelook.__file__)).parent, folder)
    with (folder / "errors.py").open("a") as file:
        file.write("# another version\n")
    return Otherwise(code=folder)


@pytest.mark.parametrize(
    ("otherwise", "differing"),
    [
        (other_settings, ["settings"]),
        (other_data, ["settings", "training and validation data"]),
        (other_model, ["model"]),
        (other_code, ["Onelook"]),
    ],
)
def test_processes_that_are_not_about_to_do_the_same_are_named_with_what_differs(
    otherwise: Callable[[Options, Path], Otherwise], differing: list[str], settings: Options, run: Path, tmp_path: Path
) -> None:
    words = as_arguments({**settings, "project": run.parent})
    target = otherwise(settings, tmp_path / "other")
    ranks = start_ranks(target, 2, tmp_path / "said", arguments=(["train", *words],))
    assert ranks.join() == [64, 64], ranks.everything_said
    assert len(ranks.errors) == 1
    assert "the processes of this run do not agree:" in ranks.errors[0]
    for what in differing:
        assert f"{what}: process 1 differs from process 0" in ranks.everything_said
    assert "hint: give all of them the same command, the same files and the same installation" in ranks.everything_said
    assert not run.exists()


# In training, `test_many_processes.py` has one by default.
@pytest.mark.parametrize("training", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_signal_to_one_process_stops_all_and_the_run_can_go_on(
    rank: int, training: bool, settings: Options, run: Path, undisturbed: Path
) -> None:
    """In training, and in a validation."""
    ranks = start(settings, run, At(rank, 8 if training else 2, Send(signal.SIGUSR1), training=training))
    assert ranks.join() == [75, 75], ranks.everything_said
    assert ranks.everything_said.count("stopped on request of SIGUSR1") == 1
    assert status(run) == ("stopped", 75)
    train({"resume": str(run)})
    assert differences(undisturbed, run) == []


def test_a_second_signal_ends_a_process_at_once_and_the_others_with_it(settings: Options, run: Path) -> None:
    """Process 1 stands still, so a first signal to it has no effect."""
    ranks = start({**settings, "hang_timeout": 600}, run, At(1, 8, get_stuck))
    wait_for(lambda: "stuck" in ranks.said(1))
    os.kill(ranks.pids[1], signal.SIGTERM)
    ranks.processes[1].join(2 * REPEAT_SECONDS)
    assert all(map(is_alive, ranks.pids))
    os.kill(ranks.pids[1], signal.SIGTERM)
    assert ranks.join(300) == [70, 143], ranks.everything_said


@pytest.mark.parametrize(
    "fail", [run_out_of_memory, pytest.param(run_out_of_memory_on_the_cpu, marks=pytest.mark.slow)]
)
def test_if_one_is_short_of_memory_at_first_all_take_smaller_parts_as_if_these_had_been_set(
    fail: Callable[[], None], settings: Options, run: Path, tmp_path: Path
) -> None:
    wanted = {**settings, "noval": True, "epochs": 2}
    ranks = start(wanted, run, At(1, 1, fail))
    assert ranks.join() == [0, 0], ranks.everything_said
    assert ranks.everything_said.count("out of memory at epoch 0, batch 0: from here on, at most 1 image ") == 1
    assert weights(run) == weights(trained(2, {**wanted, "micro_batch": 1}, tmp_path / "set"))


@pytest.mark.slow
def test_if_one_is_short_of_memory_later_it_is_as_if_smaller_parts_had_been_set_from_there(
    settings: Options, run: Path, tmp_path: Path
) -> None:
    wanted = {**settings, "epochs": 2}
    ranks = start(wanted, run, At(1, 8, run_out_of_memory))
    assert ranks.join() == [0, 0], ranks.everything_said
    assert "out of memory at epoch 1, batch 2" in ranks.said(0)
    other = tmp_path / "stopped" / "exp"
    stopped = start(wanted, other, At(0, 7, Send(signal.SIGTERM)))
    assert stopped.join() == [75, 75], stopped.everything_said
    resumed = start({"resume": str(other), "micro_batch": 1}, other)
    assert resumed.join() == [0, 0], resumed.everything_said
    assert differences(run, other) == []


def test_one_image_that_does_not_fit_ends_all_with_one_message(settings: Options, run: Path) -> None:
    ranks = start({**settings, "batch_size": 2}, run, At(1, 1, run_out_of_memory))
    assert ranks.join() == [71, 71], ranks.everything_said
    assert len(ranks.errors) == 1
    assert "not enough memory for one image of 64 pixels at a time: " in ranks.errors[0]


def test_one_that_is_short_of_memory_in_a_validation_halves_its_batches_and_all_stays_the_same(
    settings: Options, run: Path, undisturbed: Path
) -> None:
    ranks = start(settings, run, At(1, 1, run_out_of_memory, training=False))
    assert ranks.join() == [0, 0] and ranks.errors == [], ranks.everything_said
    assert differences(undisturbed, run) == []
