"""`--teacher`: the student learns from it, its file is remembered, and a resumed run ends as an undisturbed one."""

from __future__ import annotations

import csv
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_content import content_of
from colours import checkpoint_of
from option_runs import covers, fit
from rank_runs import differences, trained
from stop_at import StopAt

from onelook.errors import CheckpointError, ModelError, SettingsError, StopRequested
from onelook.models.detector import create_model
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.settings.train import TrainSettings
from onelook.training.batch_trial import TrialRequest, peak_memory_of_batch
from onelook.training.teacher import Teacher

BODY = "backbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n  - [-1, 1, Conv, [8, 3, 2]]\n  - [-1, 1, Conv, [8, 3, 2]]\n"


def table(folder: Path, head: str) -> Path:
    path = folder / "student.yaml"
    path.write_text(f"nc: 2\ndepth_multiple: 1.0\nwidth_multiple: 1.0\n{BODY}head:\n  - [[2], 1, {head}]\n")
    return path


def made_up_teacher(path: Path, *, seed: int = 0) -> Path:
    """A model of one map that sees something everywhere."""
    model = create_model(table(path.parent, "YoloX, [nc, 16]"), names=("square", "disc"), seed=seed)
    for name, parameter in model.named_parameters():
        if name.endswith(("cls_preds.0.bias", "obj_preds.0.bias")):
            torch.nn.init.constant_(parameter, 1.0)
    return checkpoint_of(model, path)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return made_up_teacher(tmp_path / "teacher.safetensors")


@pytest.fixture
def settings(tiny_data: Path, teacher: Path, tmp_path: Path) -> dict[str, Any]:
    fixed = {"imgsz": 64, "batch_size": 4, "workers": 0, "device": "cpu", "noplots": True, "noreport": True}
    folder = tmp_path / "student"
    folder.mkdir()
    student = table(folder, "Look, [nc, 8, 8]")
    return {"data": tiny_data, "cfg": student, "epochs": 2, **fixed, "teacher": str(teacher)}


@covers("train", "teacher", "teach")
def test_a_student_learns_from_its_teacher(
    settings: dict[str, Any], teacher: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings["epochs"] = 1
    taught = fit({**settings, "project": tmp_path / "taught"})
    alone = fit({**settings, "teacher": "", "project": tmp_path / "alone"})
    assert taught.bits != alone.bits
    (said,) = [line for line in caplog.messages if line.startswith("teacher `")]
    assert str(teacher) in said and "mAP50-95" in said
    with (taught.result.run_folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["train/teach_cls_loss"]) > 0 for row in rows)
    assert "val/teach_cls_loss" not in rows[0]
    assert taught.trace.start[0].loss_columns[-2:] == ("teach_box", "teach_cls")
    names = set(load_checkpoint(taught.result.best).tensors)
    assert names == set(load_checkpoint(alone.result.best).tensors), "nothing of the teacher is in the weights"
    assert len(load_checkpoint(taught.result.last).document["teacher"]["digest"]) == 64
    by_features = fit({**settings, "teach": "features", "project": tmp_path / "features"})
    with (by_features.result.run_folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["train/teach_feature_loss"]) > 0 for row in rows) and "train/teach_cls_loss" not in rows[0]
    assert set(load_checkpoint(by_features.result.best).tensors) == names, "the adapters are in no weights"
    assert by_features.bits not in (taught.bits, alone.bits)


def test_of_two_branches_the_one_in_which_more_cells_see_an_object_teaches(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    model = create_model(table(tmp_path, "YoloX, [nc, 16]"), names=("square", "disc"), seed=0, one_to_one=True)
    for name, parameter in model.named_parameters():
        if name.endswith(("cls_preds.0.bias", "obj_preds.0.bias")):
            torch.nn.init.constant_(parameter, -20.0 if ".one." in name else 1.0)
    teacher = checkpoint_of(model, tmp_path / "both.safetensors", branch="one")
    result = train({**settings, "epochs": 1, "teacher": str(teacher), "project": tmp_path / "runs"})
    with (result.run_folder / "results.csv").open(newline="") as file:
        assert all(float(row["train/teach_cls_loss"]) > 0 for row in csv.DictReader(file))


def test_a_stopped_run_ends_as_the_undisturbed_one_if_its_teacher_is_the_same_file(
    settings: dict[str, Any], teacher: Path, tmp_path: Path
) -> None:
    """With all that is learned besides: the adapters and their moments."""
    settings = {**settings, "teach": "both", "epochs": 1}
    whole = train({**settings, "project": tmp_path / "whole"}).run_folder
    folder = tmp_path / "stopped" / "exp"
    moved = Path(shutil.copyfile(teacher, tmp_path / "moved.safetensors"))
    with pytest.raises(StopRequested):
        train({**settings, "project": folder.parent}, callbacks=[StopAt(3)])
    other = made_up_teacher(tmp_path / "other.safetensors", seed=1)
    before = (folder / "settings.yaml").read_bytes()
    with pytest.raises(CheckpointError, match=r"other\.safetensors` is not the file that taught run"):
        train({"resume": str(folder), "teacher": str(other)})
    assert (folder / "settings.yaml").read_bytes() == before
    with pytest.raises(SettingsError, match="`teach: both` needs a teacher"):
        train({"resume": str(folder), "teacher": ""})
    train({"resume": str(folder), "teacher": str(moved), "teach": "both"})
    assert content_of(folder / "results.csv") == content_of(whole / "results.csv")
    tensors = [load_checkpoint(run / "weights" / "last.safetensors").tensors for run in (folder, whole)]
    assert all(tensors[0][name].equal(tensors[1][name]) for name in tensors[1])
    assert "adapters/0.weight" in tensors[1] and any(name.startswith("adapters_optimizer/") for name in tensors[1])


def test_two_processes_give_the_bits_of_one(settings: dict[str, Any], tmp_path: Path) -> None:
    settings = {**settings, "teach": "both"}
    one = trained(1, {**settings, "micro_batch": 2}, tmp_path / "one")
    two = trained(2, settings, tmp_path / "two")
    assert differences(one, two) == []


def test_a_teacher_that_cannot_teach_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    data = tmp_path / "data.yaml"
    folder = Path(settings["data"]).parent
    data.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    with pytest.raises(ModelError, match="the teacher knows none of the classes `cat`, `dog`"):
        train({**settings, "data": data, "project": tmp_path / "runs"})
    for more in ({}, {"batch_size": -1}):
        with pytest.raises(CheckpointError, match="does not exist"):
            train({**settings, **more, "teacher": str(tmp_path / "absent.safetensors"), "project": tmp_path / "runs"})
    with pytest.raises(SettingsError, match=r"`teach: features` needs a teacher\nhint: add `--teacher WEIGHTS`"):
        train({**settings, "teacher": "", "teach": "features", "project": tmp_path / "runs"})
    assert not (tmp_path / "runs").exists()


def test_a_resumed_run_keeps_its_teacher_and_gets_none(settings: dict[str, Any], teacher: Path, tmp_path: Path) -> None:
    """Its losses have as many terms as they had."""
    for before, now, said in (("", str(teacher), "without a teacher"), (str(teacher), "", "with a teacher")):
        folder = tmp_path / said.replace(" ", "-") / "exp"
        with pytest.raises(StopRequested):
            train({**settings, "teacher": before, "project": folder.parent}, callbacks=[StopAt(3)])
        with pytest.raises(SettingsError, match=rf"began {said}, so it cannot be resumed with"):
            train({"resume": str(folder), "teacher": now})


def test_first_tries_of_a_run_have_its_teacher(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the time of an epoch, five steps, and the memory of a batch, eight; then one step of the run."""
    asked: list[int] = []
    targets = Teacher.targets

    def noted(self: Teacher, images: torch.Tensor, *given: Any) -> Any:
        asked.append(len(images))
        return targets(self, images, *given)

    monkeypatch.setattr(Teacher, "targets", noted)
    timed = {name: value for name, value in settings.items() if name != "epochs"} | {"teach": "both", "time": 1.0}
    with pytest.raises(StopRequested):
        train({**timed, "project": tmp_path / "timed"}, callbacks=[StopAt(1)])
    assert asked == [4] * 6
    asked.clear()
    student, side = create_model(settings["cfg"], names=("square", "disc")), (64, 64)
    of_run = TrainSettings.model_validate({"imgsz": 64, "teacher": settings["teacher"], "teach": "both"})
    request = TrialRequest(student.definition, student.names, of_run, "cpu", 4, 4, frame_hw=side, val_frame_hw=side)
    peak_memory_of_batch(request, 2)
    assert asked == [2] * 8
