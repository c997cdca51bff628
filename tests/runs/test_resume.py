"""A run that was interrupted, anywhere and in any way, ends as if it had not been: every file equal bit for bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import pytest
import torch
from checkpoint_content import content_of
from forked_ranks import fork
from option_runs import covers
from stop_at import StopAt
from torch.nn.modules.module import register_module_forward_hook

import onelook
from onelook.cli.main import main
from onelook.errors import CheckpointError, RunFolderError, SettingsError, StopRequested
from onelook.models.detector import DetectionModel
from onelook.recipes.launch import train_on_devices
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.training.callback import Callback, StepEnd

FILES = ("weights/last.safetensors", "weights/best.safetensors", "results.csv", "settings.yaml", "labels.json")
STEPS = 12


class CountSteps(Callback):
    def __init__(self) -> None:
        self.steps = 0

    def on_step_end(self, event: StepEnd) -> None:
        self.steps += 1


def contents(run: Path) -> dict[str, bytes]:
    return {name: content_of(run / name) for name in FILES}


def train_quietly(settings: dict[str, object]) -> None:
    train(settings)


@pytest.mark.parametrize(
    ("optimizer", "steps", "epochs"),
    [
        ("SGD", (4,), 2),  # between two updates; at the end of an epoch in the next test
        pytest.param("AdamW", (8,), 4, marks=pytest.mark.slow),
        pytest.param("SGD", range(1, STEPS + 1), 4, marks=pytest.mark.slow, id="SGD, every step"),
        pytest.param("AdamW", range(1, STEPS + 1, 3), 4, marks=pytest.mark.slow, id="AdamW, every third step"),
    ],
)
def test_a_run_stopped_at_any_step_ends_as_the_undisturbed_one(
    tiny_settings: dict[str, object], tmp_path: Path, optimizer: str, steps: Sequence[int], epochs: int
) -> None:
    settings = {**tiny_settings, "optimizer": optimizer, "lr0": 0.003, "nominal_batch": 16, "epochs": epochs}
    whole = contents(train({**settings, "project": tmp_path / "whole"}).run_folder)
    for step in steps:
        folder = tmp_path / f"at{step}" / "exp"
        with pytest.raises(StopRequested):
            train({**settings, "project": folder.parent}, callbacks=[StopAt(step)])
        count = CountSteps()
        train({"resume": str(folder)}, callbacks=[count])
        assert 3 * epochs - step - 1 <= count.steps <= 3 * epochs - step, "no step is done twice"
        assert contents(folder) == whole, f"stopped at step {step}"


@covers("train", "resume")
def test_a_run_stopped_many_times_ends_as_the_undisturbed_one(
    tiny_settings: dict[str, object], whole_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "often" / "exp"
    with pytest.raises(StopRequested):
        train({**tiny_settings, "project": folder.parent}, callbacks=[StopAt(1)])
    for step in (6, 10):
        with pytest.raises(StopRequested):
            train({"resume": str(folder)}, callbacks=[StopAt(step, signal.SIGINT)])
    train({"resume": str(folder)})
    assert contents(folder) == contents(whole_run)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("runs", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_instants_ends_as_the_undisturbed_one(
    runs: int, tiny_settings: dict[str, object], tmp_path: Path
) -> None:
    settings = {**tiny_settings, "save_interval": 0}
    begun = time.monotonic()
    whole = contents(train({**settings, "project": tmp_path / "whole"}).run_folder)
    duration = time.monotonic() - begun
    rng = random.Random(runs)
    for kill in range(runs):
        folder = tmp_path / f"killed{kill}" / "exp"
        child = fork(train_quietly, {**settings, "project": folder.parent})
        for _ in range(3):
            time.sleep(rng.uniform(0.3, 0.9) * duration)
            child.kill()
            child.join()
            if not (folder / "weights" / "last.safetensors").is_file():
                break
            load_checkpoint(folder / "weights" / "last.safetensors")
            child = fork(train_quietly, {"resume": str(folder)})
        else:
            child.join()
        if not (folder / "weights" / "last.safetensors").is_file():
            continue
        train({"resume": str(folder)})
        assert contents(folder) == whole, f"killed run {kill}"


def test_a_finished_run_can_be_extended_and_nothing_else_can_be_changed(whole_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole_run, tmp_path / "exp"))
    assert train({"resume": str(folder)}).outcome.epochs_done == 4
    with pytest.raises(SettingsError, match=r"`lr0` was 0\.001 and would become 0\.02"):
        train({"resume": str(folder), "lr0": 0.02, "epochs": 6})
    result = train({"resume": str(folder), "epochs": 6})
    rows = (folder / "results.csv").read_text().splitlines()
    assert result.outcome.epochs_done == 6
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1", "2", "3", "4", "5"]


def test_hyperparameters_come_from_the_checkpoint_when_their_file_is_gone(
    tiny_settings: dict[str, object], tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("lr0: 0.005\n")
    with pytest.raises(StopRequested):
        train({**tiny_settings, "hyp": file, "epochs": 1}, callbacks=[StopAt(2)])
    file.unlink()
    folder = train({"resume": True, "project": tiny_settings["project"]}).run_folder
    document = load_checkpoint(folder / "weights" / "last.safetensors").document
    assert (document["settings"]["lr0"], document["settings"]["hyp"]) == (0.005, str(file))


@covers("train", "resume")
def test_bare_resume_takes_the_newest_run_and_says_so_once(
    tiny_settings: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    project = Path(str(tiny_settings["project"]))
    with pytest.raises(RunFolderError, match="nothing to resume"):
        train({"resume": True, "project": project})
    for name in ("first", "second"):
        with pytest.raises(StopRequested):
            train({**tiny_settings, "name": name, "epochs": 1}, callbacks=[StopAt(2)])
    assert train({"resume": True, "project": project}).run_folder.name == "second"
    assert main(["train", "--resume", "--project", str(project)]) == 0
    assert capsys.readouterr().out.count("first`, the newest interrupted run") == 1


def test_a_damaged_last_checkpoint_is_replaced_by_the_one_before(
    tiny_settings: dict[str, object], whole_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "damaged" / "exp"
    for given in ({**tiny_settings, "project": folder.parent}, {"resume": str(folder)}):
        with pytest.raises(StopRequested):
            train(given, callbacks=[StopAt(4 if "data" in given else 7)])
    last = folder / "weights" / "last.safetensors"
    data = bytearray(last.read_bytes())
    data[-5] ^= 4
    last.write_bytes(data)
    train({"resume": str(folder)})
    assert "resuming from" in caplog.text
    assert contents(folder) == contents(whole_run)


def test_changed_data_are_refused_on_resume(tiny_settings: dict[str, object], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(Path(str(tiny_settings["data"])).parent, copy)
    with pytest.raises(StopRequested):
        train({**tiny_settings, "data": copy / "data.yaml"}, callbacks=[StopAt(2)])
    label = next((copy / "labels" / "train").iterdir())
    label.write_text(label.read_text() + "0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(CheckpointError, match="have changed since"):
        train({"resume": True, "project": tiny_settings["project"]})
    with pytest.raises(StopRequested):
        train(
            {"resume": True, "project": tiny_settings["project"], "data": tiny_settings["data"]}, callbacks=[StopAt(5)]
        )


def test_changed_classes_are_refused_on_resume(tiny_settings: dict[str, object], tmp_path: Path) -> None:
    folder = Path(str(tiny_settings["data"])).parent
    with pytest.raises(StopRequested):
        train(tiny_settings, callbacks=[StopAt(2)])
    for names, change in (
        ("[disc, square]", "class 0 was `square` and is `disc`"),
        ("[square, ring]", "class 1 was `disc` and is `ring`"),
        ("[square, disc, star]", "2 classes then, 3 now"),
    ):
        other = tmp_path / "other.yaml"
        other.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: {names}\n")
        with pytest.raises(CheckpointError, match=change):
            train({"resume": True, "project": tiny_settings["project"], "data": other})


def test_a_stop_during_validation_is_obeyed_and_resumed(
    tiny_settings: dict[str, object], whole_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "val" / "exp"
    with pytest.raises(StopRequested):
        train({**tiny_settings, "project": folder.parent}, callbacks=[StopAt(3)])
    assert not (folder / "results.csv").read_text().splitlines()[1:], "epoch 0 is trained, but not yet validated"
    train({"resume": str(folder)})
    assert contents(folder) == contents(whole_run)


KILLED_AT = """
import os, signal
from onelook import Callback

class Killed(Callback):
    def on_step_end(self, event):
        if event.step == STEP:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_at(step: int, settings: dict[str, object], tmp_path: Path) -> None:
    """A training that is killed after a step, in a process of its own."""
    file = tmp_path / f"killed{step}.py"
    file.write_text(KILLED_AT.replace("STEP", str(step)))
    child = fork(train_quietly, {**settings, "callbacks": [file]})
    child.join()
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize(
    ("step", "more"),
    [pytest.param(1, {}, id="first step"), pytest.param(5, {"nosave": True}, id="nosave", marks=pytest.mark.slow)],
)
def test_a_run_in_a_reused_folder_never_resumes_the_one_before_it(
    step: int,
    more: dict[str, object],
    tiny_settings: dict[str, object],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tiny_settings["epochs"] = 2
    older = train({**tiny_settings, "noreport": False, "save_period": 1}).run_folder
    last = older / "weights" / "last.safetensors"
    before = last.read_bytes()
    killed_at(step, {**tiny_settings, **more, "noreport": False, "lr0": 0.02, "exist_ok": True}, tmp_path)
    for place in (older, last, older / "weights" / "epoch1.safetensors"):
        with pytest.raises(
            CheckpointError, match="is of an earlier run in this folder; the last run, which began on 2"
        ):
            train({"resume": str(place)})
    with pytest.raises(RunFolderError, match="nothing to resume"):
        train({"resume": True, "project": tiny_settings["project"]})
    assert (
        last.read_bytes() == before and not (older / "metrics.json").exists() and not (older / "report.html").exists()
    )
    again = train({**tiny_settings, "lr0": 0.02, "exist_ok": True}).run_folder
    assert "holds an earlier run of 2" in caplog.text
    quiet = train({**tiny_settings, "lr0": 0.02, "project": tmp_path / "quiet"}).run_folder
    assert contents(again) == contents(quiet)
    assert len((again / "speed.csv").read_text().splitlines()) == len((quiet / "speed.csv").read_text().splitlines())
    assert not (again / "weights" / "previous.safetensors").exists() or (
        load_checkpoint(again / "weights" / "previous.safetensors").document["settings"]["lr0"] == 0.02
    )


def test_a_loss_that_is_not_finite_once_costs_one_update_and_no_run(
    tiny_settings: dict[str, object], tmp_path: Path
) -> None:
    calls = 0

    def spoil(module: object, given: object, maps: list[torch.Tensor]) -> list[torch.Tensor] | None:
        nonlocal calls
        calls += isinstance(module, DetectionModel) and module.training
        is_second = isinstance(module, DetectionModel) and module.training and calls == 2
        return [raw_map * torch.nan for raw_map in maps] if is_second else None

    settings = {**tiny_settings, "epochs": 2, "auto_balance": True}
    with register_module_forward_hook(spoil):
        whole = train({**settings, "project": tmp_path / "quiet"}).run_folder
    calls = 0
    with register_module_forward_hook(spoil), pytest.raises(StopRequested):
        train(settings, callbacks=[StopAt(2)])
    folder = tmp_path / "runs" / "exp"
    assert load_checkpoint(folder / "weights" / "last.safetensors").document["progress"]["loss_sums"] == [None] * 3
    first, second = train({"resume": str(folder)}).outcome.history
    assert "train/box_loss" not in first and "val/box_loss" in first and second["train/box_loss"] > 0
    assert (folder / "results.csv").read_text().splitlines()[1].startswith("0,,,,")
    assert contents(folder) == contents(whole)


@pytest.mark.slow  # `test_a_run_killed_in_any_phase_in_a_reused_folder..` does too
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_run_in_a_reused_folder_resumes_itself(tiny_settings: dict[str, object], tmp_path: Path) -> None:
    settings = {**tiny_settings, "lr0": 0.02, "save_interval": 0}
    quiet = train({**settings, "project": tmp_path / "quiet"}).run_folder
    train(tiny_settings)
    killed_at(8, {**settings, "exist_ok": True}, tmp_path)
    assert contents(train({"resume": True, "project": tiny_settings["project"]}).run_folder) == contents(quiet)


def train_until(settings: dict[str, object], function: str, count: int, number: int = signal.SIGKILL) -> None:
    """Train, and get a signal when a function of the library is called for the `count`th time."""
    left = count

    def kill(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        if event == "call" and frame.f_code.co_name == function and "onelook" in frame.f_code.co_filename:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)

    sys.setprofile(kill)
    train(settings)


PHASES = {
    "scan": ("scan_split", 1),
    "folder": ("begin", 1),
    "start": ("_write_beginning", 1),
    "cache": ("ram_cache", 1),
    "first step": ("train_step", 1),
    "a step": ("train_step", 7),
    "first best": ("save_checkpoint", 1),
    "first last": ("save_checkpoint", 2),
    "between link and last": ("_second_name", 1),
    "a later save": ("save_checkpoint", 3),
    "validation": ("_validate", 2),
    "final measurement": ("measure_best", 1),
    "plots": ("draw_evaluation", 1),
    "end": ("write_status", 1),
    "report": ("report_finished_run", 1),
}


def test_the_phases_are_functions_of_the_library() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(onelook.__file__).parent.rglob("*.py"))
    assert not [name for name, _ in PHASES.values() if f"def {name}(" not in source]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "phase", [pytest.param(phase, marks=[] if phase == "first last" else pytest.mark.slow) for phase in PHASES]
)
def test_a_run_killed_in_any_phase_in_a_reused_folder_ends_as_the_undisturbed_one(
    phase: str, number: signal.Signals, tiny_settings: dict[str, object], tmp_path: Path
) -> None:
    shown = {"noplots": phase != "plots", "noreport": False}
    settings = {**tiny_settings, "epochs": 3, "save_interval": 0, "cache": "ram", **shown}
    train({**tiny_settings, "lr0": 0.02, "epochs": 1})
    quiet = train({**settings, "project": tmp_path / "quiet"}).run_folder
    child = fork(train_until, {**settings, "exist_ok": True}, *PHASES[phase], number)
    child.join()
    assert number == signal.SIGTERM or child.exitcode == -signal.SIGKILL
    folder = Path(str(tiny_settings["project"])) / "exp"
    try:
        train({"resume": str(folder)})
    except CheckpointError as problem:
        assert "is of an earlier run in this folder" in str(problem)
        train({**settings, "exist_ok": True})
    if phase in ("scan", "folder"):  # nothing is known of the new run yet: the finished one is still there
        train({**settings, "exist_ok": True})
    assert contents(folder) == contents(quiet)
    assert not [path for path in folder.rglob("*") if "onelook-tmp" in path.name]
    assert (folder / "report.html").exists() and (folder / "metrics.json").exists()


def test_a_file_of_settings_neither_resumes_a_run_nor_changes_one(
    whole_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asking = tmp_path / "resume.yaml"
    asking.write_text("resume: true\n")
    for begin in (train_on_devices, train):  # `train` alone is what runs under torchrun
        with pytest.raises(SettingsError, match=r"`resume` in file `.*resume.yaml` would begin a new run"):
            begin({"data": "a.yaml", "device": "cpu"}, file=asking)
    longer = tmp_path / "longer.yaml"
    longer.write_text("epochs: 9\n")
    run = Path(shutil.copytree(whole_run, tmp_path / "copy"))
    for resume in (train_on_devices, train):
        caplog.clear()
        assert resume({"resume": str(run)}, file=longer).outcome.epochs_done == 4
        assert caplog.text.count("longer.yaml` is not read: a resumed run has its own settings") == 1
