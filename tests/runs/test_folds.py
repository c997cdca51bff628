"""Training on folds: each as if it were trained alone, stopped and gone on with to the same bits, summed up."""

from __future__ import annotations

import csv
import json
import logging
import re
import shutil
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest
from checkpoint_content import content_of
from option_runs import Options, covers, fit

import onelook
from onelook.cli.main import main
from onelook.errors import DataError, OnelookError, RunFolderError, SettingsError, StopRequested
from onelook.files.yaml import load_yaml
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.folds import FoldsResult, train_folds
from onelook.recipes.folds_preparation import prepare_folds
from onelook.recipes.split_dataset import split_dataset
from onelook.settings.build import build_settings
from onelook.settings.command_line import as_arguments
from onelook.settings.folds import FoldsSettings
from onelook.training.auto_settings import settle
from onelook.training.callback import Callback, FitEnd, FitStart, StepEnd
from onelook.training.families import FAMILIES

NUM_FOLDS = 2
NUM_EPOCHS = 2
NEITHER_SHOWN = {"noplots": True, "noreport": True}
RUN_FILES = ("weights/last.safetensors", "weights/best.safetensors", "results.csv", "settings.yaml", "labels.json")
SUMMARY_FILES = ("folds.csv", "folds.json")


class Interrupts(Callback):
    """Sends this process a signal at the first step of the second epoch, or at the end, of the training on a fold."""

    def __init__(self, fold: str, *, at_the_end: bool = False) -> None:
        self.fold = fold
        self.at_the_end = at_the_end
        self.trained: list[str] = []

    def on_fit_start(self, event: FitStart) -> None:
        self.trained.append(event.run_folder.name)

    def on_step_end(self, event: StepEnd) -> None:
        if not self.at_the_end and self.trained[-1] == self.fold and (event.epoch, event.batch) == (1, 0):
            signal.raise_signal(signal.SIGINT)

    def on_fit_end(self, event: FitEnd) -> None:
        if self.at_the_end and self.trained[-1] == self.fold:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def folds(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of 2 folds of 30 images."""
    folder = tmp_path_factory.mktemp("divided") / "folds"
    split_dataset({"data": tiny_data, "output": folder, "folds": NUM_FOLDS, "stratify": True, "near": -1})
    return folder


@pytest.fixture
def options(folds: Path, tiny_model: Path, tmp_path: Path) -> Options:
    return options_of(folds, tiny_model, tmp_path / "runs")


def options_of(folds: Path, model: Path, project: Path) -> Options:
    quick = {"epochs": NUM_EPOCHS, "batch_size": 10, "imgsz": 64, "workers": 0, "device": "cpu", "noautoanchor": True}
    return {**quick, "folds": folds, "cfg": str(model), "project": project, **NEITHER_SHOWN, "mixup": 0.3}


@pytest.fixture(scope="module")
def whole(folds: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldsResult:
    """Trainings that nothing has disturbed."""
    return train_folds(options_of(folds, tiny_model, tmp_path_factory.mktemp("whole")))


def contents(folder: Path) -> dict[str, bytes]:
    """All that has to be equal bit for bit; the number of the process that has trained is not."""
    runs = [f"fold{number}/{name}" for number in range(1, NUM_FOLDS + 1) for name in RUN_FILES]
    return {name: content_of(folder / name) for name in (*runs, *SUMMARY_FILES)}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@covers("train", "folds")
def test_each_fold_is_trained_on_as_if_alone(whole: FoldsResult, options: Options, folds: Path) -> None:
    given = {name: value for name, value in options.items() if name != "folds"}
    assert [score.name for score in whole.folds] == ["fold1", "fold2"]
    for score in whole.folds:
        alone = fit(given, data=folds / score.name / "data.yaml", name=score.name).result
        for name in RUN_FILES:
            assert content_of(score.run_folder / name) == content_of(alone.run_folder / name), name
        assert score.metrics.map50_95 == alone.metrics.map50_95
        assert (score.best_epoch, score.epochs) == (alone.outcome.best_epoch, NUM_EPOCHS)


def test_the_summary_is_that_of_the_folds(whole: FoldsResult) -> None:
    *rows, mean, sd = rows_of(whole.run_folder / "folds.csv")
    assert [row["fold"] for row in (*rows, mean, sd)] == ["fold1", "fold2", "mean", "sd"]
    assert sum(int(row["images"]) for row in rows) == 30
    content = json.loads((whole.run_folder / "folds.json").read_text())
    for name in ("precision", "recall", "f1", "map50", "map75", "map50_95", "fitness"):
        values = []
        for row in rows:
            metrics = json.loads((whole.run_folder / row["fold"] / "metrics.json").read_text())
            values.append(metrics[name])
            assert float(row[name]) == metrics[name]
        assert float(mean[name]) == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert float(sd[name]) == pytest.approx(statistics.stdev(values), rel=1e-12)
        assert content["metrics"][name]["mean"] == float(mean[name])
    assert [one["name"] for one in content["classes"]] == ["square", "disc"]
    labels = sum(sum(row[:-1]) for row in content["confusion"])  # the last column has what is no object
    assert sum(one["labels"] for one in content["classes"]) == content["labels"] == labels
    assert content["settings"]["epochs"] == NUM_EPOCHS and content["settings"]["optimizer"] == "AdamW"
    assert content["environments"]["fold2"][0]["torch"]


def test_trainings_that_are_stopped_go_on_to_the_same_bits(whole: FoldsResult, options: Options) -> None:
    with pytest.raises(StopRequested) as caught:
        train_folds(options, callbacks=[Interrupts("fold2")])
    folder = options["project"] / "exp"
    assert f"resume all folds: onelook train --resume {folder}" in str(caught.value)
    assert json.loads((folder / "status.json").read_text())["state"] == "stopped"
    first = folder / "fold1" / "weights" / "last.safetensors"
    before = first.stat().st_mtime_ns
    assert main(["train", "--resume", str(folder)]) == 0
    assert contents(folder) == contents(whole.run_folder)
    assert first.stat().st_mtime_ns == before, "what is done is not trained on again"
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"


def test_a_signal_between_two_folds_is_obeyed(whole: FoldsResult, options: Options) -> None:
    observer = Interrupts("fold1", at_the_end=True)
    with pytest.raises(StopRequested, match="SIGTERM"):
        train_folds(options, callbacks=[observer])
    folder = options["project"] / "exp"
    assert observer.trained == ["fold1"] and [row["fold"] for row in rows_of(folder / "folds.csv")] == ["fold1"]
    (folder / "fold2").mkdir()  # a process that was killed before its first checkpoint leaves something like this
    (folder / "fold2" / "results.csv").write_text("epoch\n")
    (folder / "fold2" / "status.json").write_text('{"state": "running"}')
    again = Interrupts("none")
    train_folds({**options, "exist_ok": True}, callbacks=[again])
    assert again.trained == ["fold2"] and contents(folder) == contents(whole.run_folder)


def test_bare_resume_and_a_run_of_a_fold_mean_all_folds(
    whole: FoldsResult, options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StopRequested):
        train_folds(options, callbacks=[Interrupts("fold1")])
    with pytest.raises(StopRequested):
        train_folds({"resume": str(options["project"] / "exp" / "fold1")}, callbacks=[Interrupts("fold2")])
    assert main(["train", "--resume", "--project", str(options["project"])]) == 0
    assert contents(options["project"] / "exp") == contents(whole.run_folder)
    shown = capsys.readouterr().out
    assert "fold1 of 2: mAP50" in shown and "fold 1 of 2" not in shown and "resuming at epoch 1, batch 1" in shown


def test_trainings_that_are_done_are_only_summed_up_again(
    whole: FoldsResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole.run_folder, folder)
    (folder / "folds.csv").unlink()
    assert main(["train", "--resume", str(folder)]) == 0
    assert (folder / "folds.csv").read_bytes() == (whole.run_folder / "folds.csv").read_bytes()
    assert "epoch 0/" not in capsys.readouterr().out
    (folder / "fold2" / "metrics.npz").unlink()
    with pytest.raises(RunFolderError, match=r"training on `fold2` is finished, but .*metrics.npz` cannot be read"):
        train_folds({"resume": str(folder)})


def test_the_command_ends_with_tables_and_where_all_is(
    whole: FoldsResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folder = tmp_path / "bees"
    shutil.copytree(whole.run_folder, folder)
    assert main(["train", "--resume", str(folder), "--noplots", "no"]) == 0
    outcome = capsys.readouterr()
    lines = outcome.out.splitlines()
    assert outcome.err == "" and lines[0] == "2 folds of 30 images in all, 2 classes"
    *_, mean, sd = rows_of(folder / "folds.csv")
    rows = [line.split() for line in lines]
    measures = ("precision", "recall", "map50", "map50_95")
    first = whole.folds[0]
    counts = [f"{first.epochs}", f"{first.best_epoch}", f"{first.metrics.num_images}", f"{first.metrics.num_labels}"]
    assert ["fold1", *counts, *(f"{getattr(first.metrics, name):.3f}" for name in measures)] in rows
    assert ["mean", "30", "62", *(f"{float(mean[name]):.3f}" for name in measures)] in rows
    assert ["deviation", *(f"{float(sd[name]):.3f}" for name in measures)] in rows
    square = json.loads((folder / "folds.json").read_text())["classes"][0]
    spread = [f"{square['ap50']['mean']:.3f}", "±", f"{square['ap50']['sd']:.3f}"]
    assert ["square", "2", str(square["labels"]), *spread] in [row[:6] for row in rows]
    assert lines[-1].startswith(f"results are in {folder}; compare the folds with: onelook report {folder}")
    assert (folder / "confusion_matrix.png").stat().st_size > 10_000


def test_the_folder_stands_for_its_folds_in_a_report(whole: FoldsResult, tmp_path: Path) -> None:
    folder = tmp_path / "bees"
    shutil.copytree(whole.run_folder, folder)
    assert onelook.report(folder) == folder / "comparison.html"
    text = (folder / "comparison.html").read_text()
    assert "fold1" in text and "fold2" in text and onelook.report(folder / "fold2").parent == folder / "fold2"


def without(name: str) -> Any:
    return lambda folder: shutil.rmtree(folder / name)


def with_text(name: str, text: str) -> Any:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (shutil.rmtree, ["does not exist", "onelook split DATA --folds 5"]),
        (lambda folder: [shutil.rmtree(entry) for entry in folder.iterdir()], ["has no `fold1/data.yaml`"]),
        (lambda folder: (folder / "fold2").rename(folder / "other"), ["at least to 2"]),
        (without("fold1"), ["without gaps", "not there: `", "fold1/data.yaml`"]),
        (without("fold2"), ["at least to 2", "not there: `", "fold2/data.yaml`"]),
        (lambda folder: (folder / "fold2" / "data.yaml").unlink(), ["fold2/data.yaml`"]),
        (with_text("fold2/data.yaml", "train: [\n"), ["fold2: ", "fold2/data.yaml"]),
        (with_text("fold2/val.txt", "nothing.jpg\n"), ["fold2: split `val`: no image can be used"]),
        (
            with_text("fold2/data.yaml", "path: .\ntrain: train.txt\nval: val.txt\nnames: [disc, square]\n"),
            ["must be those of", "fold1/data.yaml`: 2 (square, disc)", "fold2/data.yaml`: 2 (disc, square)"],
        ),
        (
            lambda folder: [with_text(f"fold{number}/data.yaml", "names: []\n")(folder) for number in (1, 2)],
            ["these folds cannot be used:", "- fold1: ", "- fold2: "],
        ),
    ],
)  # fmt: skip
def test_folds_that_cannot_be_used_are_refused_before_the_first_epoch(
    options: Options, tmp_path: Path, change: Any, messages: list[str]
) -> None:
    folder = tmp_path / "folds"
    shutil.copytree(options["folds"], folder)
    change(folder)
    with pytest.raises(DataError) as caught:
        train_folds({**options, "folds": folder})
    assert all(message in str(caught.value) for message in messages), str(caught.value)
    assert not options["project"].exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "bees.yaml"}, "`data` and `folds` cannot be used together"),
        ({"batch_size": -1}, "which each fold could read differently"),
        ({"time": 0.1}, "trainings of different lengths cannot be compared"),
        ({"folds": None}, "`folds` must be given"),
        ({"fold": "x"}, "did you mean `folds`"),
        ({"cfg": "yolov5xx"}, "yolov5xx"),
        ({"imgsz": 32}, "this model needs a multiple of"),
    ],
)
def test_settings_that_folds_cannot_have_are_refused_and_leave_nothing(
    options: Options, changes: Options, message: str
) -> None:
    with pytest.raises(OnelookError) as caught:
        train_folds({**options, **changes})
    assert message in str(caught.value)
    assert not list(options["project"].glob("*"))


def test_a_refused_training_keeps_what_others_have_put_into_its_folder(options: Options) -> None:
    note = options["project"] / "exp" / "note.txt"
    note.parent.mkdir(parents=True)
    note.write_text("mine")
    with pytest.raises(SettingsError):
        train_folds({**options, "imgsz": 32, "exist_ok": True})
    assert [path.name for path in note.parent.iterdir()] == ["note.txt"]


def test_folds_and_a_search_or_a_single_run_or_a_launcher_exclude_each_other(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    single = tmp_path / "single"
    (single / "weights").mkdir(parents=True)
    for words, message in (
        (["--evolve", "3"], "`folds` and `evolve` cannot be used together"),
        (["--resume", str(single)], "is not the folder of trainings on folds: it lacks `folds.yaml`"),
    ):
        assert main(["train", "--folds", str(options["folds"]), *words]) in (64, 73)
        assert message in capsys.readouterr().err
    (tmp_path / "s.yaml").write_text("resume: runs/train/exp\n")
    with pytest.raises(SettingsError, match=r"`resume` in file .* would begin"):
        train_folds(options, file=tmp_path / "s.yaml")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="start them without `torchrun`"):
        train_folds(options)


@pytest.mark.slow  # other tests of folds resume them too
def test_trainings_that_go_on_learn_the_same(options: Options, tmp_path: Path) -> None:
    with pytest.raises(StopRequested):
        train_folds(options, callbacks=[Interrupts("fold2")])
    folder = options["project"] / "exp"
    for changes, message in (
        ({"lr0": 0.5, "epochs": 9}, "`epochs` was 2 and would become 9"),
        ({"folds": tmp_path}, "has no `fold1/data.yaml`"),
    ):
        with pytest.raises(OnelookError) as caught:
            train_folds({"resume": str(folder), **changes})
        assert message in str(caught.value)
    moved = tmp_path / "moved"
    shutil.copytree(options["folds"], moved)
    lines = (moved / "fold2" / "val.txt").read_text().splitlines()
    (moved / "fold2" / "val.txt").write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(RunFolderError, match="have changed since"):
        train_folds({"resume": str(folder), "folds": moved})
    (moved / "fold2" / "val.txt").write_text("\n".join(lines) + "\n")
    yamls = {path: path.read_text() for path in moved.glob("fold*/data.yaml")}
    for path, text in yamls.items():
        path.write_text(re.sub(r"(?s)names:.*", "names: [disc, square]\n", text))
    with pytest.raises(RunFolderError, match=r"classes of the folds in .* have changed since"):
        train_folds({"resume": str(folder), "folds": moved})
    for path, text in yamls.items():
        path.write_text(text)
    assert len(train_folds({"resume": str(folder), "folds": moved, "workers": 1}).folds) == NUM_FOLDS
    assert load_yaml(folder / "fold2" / "settings.yaml")["workers"] == 1


def test_a_file_of_settings_may_name_other_data(
    options: Options, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "earlier.yaml"
    file.write_text("data: elsewhere.yaml\nepochs: 1\nseed: 7\n")
    given = {name: value for name, value in options.items() if name != "epochs"}
    assert main(["train", *as_arguments(given), "--settings", str(file), "--name", "bees"]) == 0
    assert "`data` of file" in caplog.text
    settings = [load_yaml(options["project"] / "bees" / fold / "settings.yaml") for fold in ("fold1", "fold2")]
    assert [(one["seed"], one["epochs"]) for one in settings] == [(7, 1), (7, 1)]


def test_an_image_in_two_validation_splits_is_told(
    options: Options, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folds"
    shutil.copytree(options["folds"], folder)
    first = (folder / "fold1" / "val.txt").read_text().splitlines()[0]
    with (folder / "fold2" / "val.txt").open("a") as file:
        file.write(first + "\n")
    with pytest.raises(SettingsError):
        train_folds({**options, "folds": folder, "imgsz": 32})
    assert "images that more than one fold validates on: 1, such as" in caplog.text


def test_settings_that_follow_from_the_number_of_images_are_the_same_in_all_folds(
    options: Options, tmp_path: Path
) -> None:
    folder = tmp_path / "folds"
    shutil.copytree(options["folds"], folder)
    few = (folder / "fold2" / "train.txt").read_text().splitlines()[:4]
    (folder / "fold2" / "train.txt").write_text("\n".join(few) + "\n")
    given = {**options, "folds": folder, "epochs": 400, "batch_size": 2}
    with StopSignal() as stop:
        prepared = prepare_folds(given, None, stop)
    assert (
        settle(build_settings(FoldsSettings, given), len(few), FAMILIES["Detect"], num_classes=2).optimizer == "AdamW"
    )
    assert [prepared.order(number)["optimizer"] for number in (1, 2)] == ["SGD", "SGD"]


def test_python_says_which_function_trains_on_folds(options: Options, whole: FoldsResult) -> None:
    with pytest.raises(SettingsError, match=r"trains once, not on `folds`\nhint: use `onelook\.train_folds\("):
        onelook.train(**options)
    with pytest.raises(RunFolderError, match=r"is the folder of trainings on folds, not of a run\nhint: .*train_folds"):
        onelook.train(resume=whole.run_folder)
    assert len(onelook.train_folds(resume=whole.run_folder).folds) == NUM_FOLDS


def test_a_run_of_other_trainings_is_not_taken_for_a_fold(options: Options) -> None:
    (options["project"] / "exp" / "fold1").mkdir(parents=True)
    with pytest.raises(RunFolderError, match="has a run `fold1` that does not belong to these trainings"):
        train_folds({**options, "exist_ok": True})


@pytest.mark.slow
def test_many_processes_train_on_one_fold_after_the_other(options: Options) -> None:
    result = train_folds({**options, "epochs": 1, "nproc": 2})
    assert [score.name for score in result.folds] == ["fold1", "fold2"]
    assert all("2 processes" in score.environments[0]["device"] for score in result.folds)
    again = train_folds({"resume": str(result.run_folder)})
    assert again.folds[1].metrics.map50_95 == result.folds[1].metrics.map50_95
