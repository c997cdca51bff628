"""The commands as a user types them, one after the other, and what they leave on the disk."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from checkpoint_content import content_of
from command_runs import Home, run, state_of, texts
from pydantic import BaseModel

from onelook.cli.commands import COMMANDS
from onelook.cli.main import main
from onelook.files.yaml import load_yaml
from onelook.runs.checkpoint import load_checkpoint
from onelook.settings.build import build_settings
from onelook.settings.detect import DetectSettings
from onelook.settings.folds import FoldsSettings
from onelook.settings.info import InfoSettings
from onelook.settings.serve import ServeSettings
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings

SETTINGS: dict[str, type[BaseModel]] = {
    "train": FoldsSettings,
    "val": ValidateSettings,
    "detect": DetectSettings,
    "serve": ServeSettings,
    "info": InfoSettings,
}
# The header that tools for this family of trainers read, in its order.
RESULT_COLUMNS = (
    "epoch,train/box_loss,train/obj_loss,train/cls_loss,metrics/precision,metrics/recall,metrics/mAP_0.5,"
    "metrics/mAP_0.5:0.95,val/box_loss,val/obj_loss,val/cls_loss,x/lr0,x/lr1,x/lr2"
)
CHARTS = {"labels.png", "labels_correlogram.png", "results.png", "confusion_matrix.png"}
CURVES = {"P_curve.png", "R_curve.png", "F1_curve.png", "PR_curve.png"}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_from_training_to_detection(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    before = state_of(home.data)
    words = home.train("--epochs", 2, "--noplots", "no", "--noreport", "no", "--seed", 3)
    outcome = run(words, capsys)
    assert (outcome.code, outcome.err) == (0, "")
    assert "train: 20 images: 20 with labels\n" in outcome.out
    assert "best weights: runs/train/exp/weights/best.safetensors\n" in outcome.out
    assert outcome.out.endswith("results are in runs/train/exp\n")
    train_leaves_what_it_should(Path("runs/train/exp"))

    best = Path("runs/train/exp/weights/best.safetensors")
    outcome = run(home.val("--weights", best, "--task", "test", "--save-json"), capsys)
    assert (outcome.code, outcome.err) == (0, "") and "milliseconds per image: load" in outcome.out
    val_leaves_what_it_should(Path("runs/val/exp"))

    save = ("--save-txt", "--save-conf", "--save-csv", "--save-json", "--save-crop")
    outcome = run(home.detect("--weights", best, "--conf-thres", 0.001, "--max-det", 5, *save), capsys)
    assert (outcome.code, outcome.err) == (0, "") and "4 images, " in outcome.out
    assert "per second; milliseconds per image: wait for images" in outcome.out
    assert "no detections" not in outcome.out
    detect_leaves_what_it_should(Path("runs/detect/exp"), home)
    outcome = run(home.detect("--weights", best, "--conf-thres", 1, "--nosave"), capsys)
    assert "no detections: try a lower `--conf-thres`" in outcome.out
    assert state_of(home.data) == before, "the data are the user's"


def train_leaves_what_it_should(folder: Path) -> None:
    files = {path.name for path in folder.iterdir()}
    assert CHARTS | CURVES | {"settings.yaml", "results.csv", "speed.csv", "metrics.json", "labels.json"} <= files
    assert {"train_batch0.jpg", "train_batch2.jpg", "val_batch0.jpg", "val_batch1.jpg"} <= files
    assert not [name for name in files if "tmp" in name or (name.startswith(".") and name != ".lock")]
    assert {path.name for path in (folder / "weights").iterdir()} >= {"last.safetensors", "best.safetensors"}
    assert (folder / "results.csv").read_text().splitlines()[0] == RESULT_COLUMNS
    rows = rows_of(folder / "results.csv")
    examples = json.loads((folder / "examples.json").read_text())
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == len(examples["worst"]) + len(examples["best"]) >= 4
    assert len(page) < 5_000_000
    assert [row["epoch"] for row in rows] == ["0", "1"] and all(cell for row in rows for cell in row.values())
    metrics = json.loads((folder / "metrics.json").read_text())
    best = max(rows, key=lambda row: 0.1 * float(row["metrics/mAP_0.5"]) + 0.9 * float(row["metrics/mAP_0.5:0.95"]))
    assert metrics["map50"] == float(best["metrics/mAP_0.5"]) and metrics["num_images"] == 6
    settings = load_yaml(folder / "settings.yaml")
    assert settings["seed"] == 3 and settings["epochs"] == 2 and settings["mosaic"] == 1.0
    assert build_settings(TrainSettings, settings).imgsz == 64, "the settings of a run are settings for the next"
    assert json.loads((folder / "labels.json").read_text())["train"]["images_found"] == 20
    assert load_checkpoint(folder / "weights" / "best.safetensors").document["names"] == ["square", "disc"]


def val_leaves_what_it_should(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["num_images"] == 4 and [row["name"] for row in metrics["classes"]] == ["square", "disc"]
    dataset = json.loads((folder / "coco_truth.json").read_text())
    assert len(dataset["annotations"]) == metrics["num_labels"] and len(dataset["images"]) == 4
    assert json.loads((folder / "coco_predictions.json").read_text())[0].keys() >= {"image_id", "bbox", "score"}


def detect_leaves_what_it_should(folder: Path, home: Home) -> None:
    names = [f"{number:03}" for number in range(4)]
    assert sorted(path.name for path in folder.glob("*.jpg")) == [f"{name}.jpg" for name in names]
    rows = rows_of(folder / "predictions.csv")
    found = json.loads((folder / "predictions.json").read_text())
    lines = {name: (folder / "labels" / f"{name}.txt").read_text().splitlines() for name in names}
    assert len(rows) == len(found) == sum(map(len, lines.values())) > 0
    assert {row["file"] for row in rows} <= {str(home.image("test", number)) for number in range(4)}
    class_id, x, y, width, height, score = lines[Path(rows[0]["file"]).stem][0].split()
    assert class_id == rows[0]["class_id"] and float(score) == pytest.approx(float(rows[0]["score"]), abs=1e-4)
    left, right = (96 * (float(x) + sign * float(width) / 2) for sign in (-1, 1))
    assert (left, right) == pytest.approx((float(rows[0]["x1"]), float(rows[0]["x2"])), abs=0.01)
    assert float(y) + float(height) / 2 <= 1 + 1e-6
    assert {path.parent.name for path in (folder / "crops").rglob("*.jpg")} <= {"square", "disc"}


@pytest.mark.slow  # `test_the_seed_decides_everything_random` does too
def test_equal_seeds_give_equal_weights_and_results(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        assert run(home.train("--epochs", 2, "--name", name, "--seed", seed), capsys).code == 0
    for file in ("weights/best.safetensors", "weights/last.safetensors", "results.csv", "metrics.json"):
        one, two, other = (content_of(Path("runs/train", name, file)) for name in ("one", "two", "other"))
        if file != "metrics.json":  # it also tells how long an image took
            assert one == two, file
        assert one != other, file


def test_check_accounts_for_every_row_and_writes_nothing(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.label(number=2).write_text("0 .5 .5 .2 .2\n0 .5 .5 .2 .2\n1 .9 .5 .4 .2\nx\n")
    before = state_of(home.data), state_of(home.work)
    outcome = run(texts("check", home.data), capsys)
    assert outcome.code == 0
    assert "train: 20 images: 20 with labels" in outcome.out and "1 clipped, 1 repeated, 1 refused" in outcome.out
    assert "test: 4 images" in outcome.out
    assert "002.txt` line 2: a duplicate of a row above" in outcome.out
    assert "002.txt` line 4: column 1 is `x`, not a number" in outcome.out
    assert (state_of(home.data), state_of(home.work)) == before


def test_models_are_listed_with_their_sizes(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(texts("models", "yolov5n", home.model, "--rows"), capsys)
    assert (outcome.code, outcome.err) == (0, "")
    assert "yolov5n" in outcome.out and "1,872,157" in outcome.out and "Detect" in outcome.out
    assert str(home.model) in outcome.out


def test_autosplit_divides_a_folder_into_lists_that_training_takes(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state_of(home.data)
    words = ("--output", "lists", "--fractions", 0.5, 0.3, 0.2, "--seed", 4, "--annotated-only")
    outcome = run(texts("autosplit", home.data / "images", *words), capsys)
    assert (outcome.code, outcome.err) == (0, "")
    lists = {name: Path(f"lists/autosplit_{name}.txt").read_text().splitlines() for name in ("train", "val", "test")}
    assert all(lists.values()) and len({line for lines in lists.values() for line in lines}) == 30
    assert f"{len(lists['train'])} images" in outcome.out
    entries = "".join(f"{name}: {Path(f'lists/autosplit_{name}.txt').absolute()}\n" for name in lists)
    yaml = home.file("split.yaml", f"{entries}names: [square, disc]\n")
    outcome = run(home.train("--data", yaml), capsys)
    assert outcome.code == 0 and f"train: {len(lists['train'])} images" in outcome.out
    assert state_of(home.data) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_option_with_its_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run([command, "--help-all" if COMMANDS[command].common else "--help"], capsys)
    assert (outcome.code, outcome.err) == (0, "")
    letters = "".join(outcome.out.split())  # lines may be broken anywhere
    for name, field in (SETTINGS[command].model_fields if command in SETTINGS else {}).items():
        assert f"--{name.replace('_', '-')}" in outcome.out or f" {name.upper()} " in outcome.out, name
        assert "".join(str(field.description).split()) in letters, name
        shown = " ".join(map(str, field.default)) if isinstance(field.default, list) else field.default
        if not field.is_required() and field.default not in (False, "", None, []):
            assert "".join(f"(default: {shown})".split()) in letters, name
    assert "(default:)" not in letters


def test_help_of_train_puts_the_run_before_the_hyperparameters(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(["train", "--help-all"], capsys).out
    assert "\nusage: onelook train [options]\n" in text
    assert text.index("--data PATH") < text.index("--epochs N") < text.index("hyperparameters:") < text.index("--lr0")
    assert "\nusage: onelook detect --weights PATH --source NAME [" in run(["detect", "--help"], capsys).out


def test_the_program_says_its_version_and_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"], capsys).out == f"onelook {version('onelook')}\n"
    for words in ([], ["--help"]):
        outcome = run(words, capsys)
        assert (outcome.code, outcome.err) == (0, "")
        assert all(name in outcome.out and command.summary in outcome.out for name, command in COMMANDS.items())


def test_a_settings_file_is_weaker_than_what_is_typed(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    file = home.file("mine.yaml", "epochs: 3\nlr0: 0.002\nname: from-file\n")
    command = [word for word in home.train("--settings", file, "--lr0", 0.003) if word not in ("--epochs", "1")]
    outcome = run(command, capsys)
    assert outcome.code == 0, outcome.err
    settings = load_yaml(Path("runs/train/from-file/settings.yaml"))
    assert (settings["epochs"], settings["lr0"]) == (3, 0.003)


def test_logging_is_left_as_it_was(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    package = logging.getLogger("onelook")
    before = package.level, list(package.handlers), package.propagate
    run(["check", "nowhere.yaml"], capsys)
    run(texts("check", home.yaml), capsys)
    assert (package.level, package.handlers, package.propagate) == before


def test_the_module_is_the_command() -> None:
    for words, code in ((["--version"], 0), (["fly"], 2)):
        ended = subprocess.run([sys.executable, "-m", "onelook", *words], capture_output=True, text=True, check=False)
        assert ended.returncode == code and "Traceback" not in ended.stderr


@pytest.mark.parametrize(("buffering", "code"), [([], 0), (["-u"], 141)], ids=["all was done", "it was cut short"])
def test_a_reader_that_goes_away_is_no_error_but_no_success_either(buffering: list[str], code: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, *buffering, "-m", "onelook", "--version"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as program:
        assert program.stdout is not None and program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == code


def test_a_table_that_nobody_reads_is_no_success_either(home: Home) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, contextlib.redirect_stdout(pipe):
        assert main(texts("check", home.yaml)) == 141


@pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")
@pytest.mark.parametrize(
    ("words", "code"), [("--version <&- >&- 2>&-", 0), ("--version --json >&-", 0), ("fly 2>&-", 2)]
)
def test_a_command_without_standard_streams_does_its_work(words: str, code: int) -> None:
    line = f"exec {shlex.quote(sys.executable)} -m onelook {words}"
    ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, "bug" in ended.stderr) == (code, "", False)
