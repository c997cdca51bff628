"""Reports of real runs: written at the end of training, and by the command."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from browser import Browser
from command_runs import Home, run
from hostile_names import HOSTILE_NAMES
from option_runs import Options, Trained, covers, fit

import onelook
from onelook.cli.main import main
from onelook.errors import RunFolderError, SettingsError
from onelook.recipes.report import report_finished_run
from onelook.recipes.train import train
from onelook.reports import report as report_module
from onelook.runs.run_dir import RunDir
from onelook.training.callback import Callback, EpochEnd

IMAGES = {"noplots": False, "epochs": 2}


@pytest.fixture(scope="module")
def fixed(fixed: Options) -> Options:
    """Those of all tests, with a report."""
    return {**fixed, "noreport": False}


@pytest.fixture(scope="module")
def hostile_data(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares and discs under names of classes and files that try to be more than names; the path of the YAML."""
    folder = tmp_path_factory.mktemp("hostile") / "data"
    shutil.copytree(tiny_data.parent, folder)
    legal = [
        name for name in HOSTILE_NAMES if not {"/", "\x00"} & set(name) and len(name) < 100 and name != "\ud800 half"
    ]
    for split in ("train", "val"):
        for number, image in enumerate(sorted((folder / "images" / split).iterdir())):
            name = f"{legal[(number if split == 'val' else number + 6) % len(legal)]} {number}"
            (folder / "labels" / split / f"{image.stem}.txt").rename(folder / "labels" / split / f"{name}.txt")
            image.rename(image.with_name(f"{name}.jpg"))
    names = [name for name in HOSTILE_NAMES if name.strip() == name and name.isprintable()]
    content = json.dumps({"path": ".", "train": "images/train", "val": "images/val", "names": names})
    (folder / "data.yaml").write_text(content, encoding="utf-8")  # JSON is YAML
    return folder / "data.yaml"


@pytest.fixture(scope="module")
def imaged(fixed: Options, hostile_data: Path) -> Path:
    """The folder of a run with images, on hostile data."""
    return fit(fixed, **IMAGES, data=hostile_data).result.run_folder


@covers("train", "noreport")
def test_noreport_writes_no_report(options: Options, plain: Trained) -> None:
    assert "</html>" in (plain.result.run_folder / "report.html").read_text(encoding="utf-8")
    assert not (fit(options, noreport=True).result.run_folder / "report.html").exists()


@covers("report", "out")
def test_the_report_of_training_is_that_of_the_command(options: Options, plain: Trained, tmp_path: Path) -> None:
    folder = plain.result.run_folder
    before = (folder / "report.html").read_text(encoding="utf-8")
    assert main(["report", str(folder), "--out", str(tmp_path / "new" / "r.html")]) == 0
    assert (tmp_path / "new" / "r.html").read_text(encoding="utf-8") == before
    assert "has not ended" not in before and "Worst and best" in before


@pytest.mark.slow  # `test_from_training_to_detection` shows this of other data
def test_a_run_with_images_keeps_its_best_and_worst(imaged: Path) -> None:
    examples = json.loads((imaged / "examples.json").read_text())
    assert len(examples["worst"]) + len(examples["best"]) >= 4
    page = (imaged / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == len(examples["worst"]) + len(examples["best"])
    assert len(page) < 5_000_000


@pytest.mark.slow  # `test_report_page.py` and `test_report_browser.py` have the same names
def test_hostile_names_of_a_real_dataset_are_text(browser: Browser, hostile_data: Path, imaged: Path) -> None:
    tab = browser.open(imaged / "report.html")
    names = json.loads(hostile_data.read_text(encoding="utf-8"))["names"]
    assert len(names) > 40
    assert tab.evaluate("Array.from(document.querySelectorAll('#data tbody th bdi'), one => one.textContent)") == names
    captions = tab.evaluate("Array.from(document.querySelectorAll('.image figcaption bdi'), one => one.textContent)")
    assert any("<" in name for name in captions)
    strange = "'b, i, img, iframe, object, form, textarea, #hit, [onerror], [onload], [onfocus]'"
    assert tab.evaluate(f"document.querySelectorAll({strange}).length") == 0
    assert tab.evaluate("typeof window.hit") == "undefined"
    assert tab.errors == [] and tab.requests == [(imaged / "report.html").resolve().as_uri()]
    tab.close()


class Stop(Callback):
    """Pulls the plug after an epoch."""

    def on_epoch_end(self, event: EpochEnd) -> None:
        if event.epoch == 0:
            raise SystemExit


@pytest.mark.slow  # resumed runs are compared file by file in `test_resume.py`
def test_a_resumed_run_keeps_the_same_things_for_its_report(
    fixed: Options, hostile_data: Path, imaged: Path, tmp_path: Path
) -> None:
    options = {**fixed, **IMAGES, "data": hostile_data}
    with pytest.raises(SystemExit):
        train({**options, "project": tmp_path / "cut", "name": "exp"}, callbacks=[Stop()])
    cut = tmp_path / "cut" / "exp"
    train({"resume": str(cut)})
    assert (cut / "examples.json").read_bytes() == (imaged / "examples.json").read_bytes()
    once = {"warnings": []}  # of letters without a font: a process says so once, and both runs are in this one
    resumed, whole = (json.loads((folder / "run.json").read_text()) | once for folder in (cut, imaged))
    assert resumed == whole


def test_a_report_that_fails_costs_a_warning_and_not_the_run(
    options: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(report_module, "SCRIPTS", ("none.js",))
    result = fit(options).result
    assert result.best.is_file() and not (result.run_folder / "report.html").exists()
    assert "the report was not written" in caplog.text and "onelook report" in caplog.text
    assert json.loads((result.run_folder / "status.json").read_text())["state"] == "finished"


def test_a_report_that_finds_no_room_costs_a_line(plain: Trained, caplog: pytest.LogCaptureFixture) -> None:
    page = plain.result.run_folder / "report.html"
    page.unlink()
    page.mkdir()
    report_finished_run(RunDir(plain.result.run_folder))
    page.rmdir()
    (line,) = caplog.messages
    assert line.startswith("the report was not written: Is a directory; `onelook report ")


def test_a_usual_report_takes_less_than_a_second(plain: Trained) -> None:
    begun = time.process_time()
    onelook.report(plain.result.run_folder, out=plain.result.run_folder / "again.html")
    assert time.process_time() - begun < 1


@covers("report", "runs")
def test_runs_are_compared(options: Options, plain: Trained, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    other = fit(options, seed=5, lr0=0.02, optimizer="SGD").result.run_folder
    outcome = run(["report", str(plain.result.run_folder), str(other)], capsys)
    page = plain.result.run_folder / "comparison.html"
    assert outcome.code == 0 and str(page) in outcome.out
    text = page.read_text(encoding="utf-8")
    assert "Comparison of 2 runs" in text and "<code>seed</code>" in text


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["report"], 2, "RUN"),
        (["report", "nowhere"], 73, "run folder `nowhere` does not exist"),
        (["report", "."], 73, "not a run folder"),
        (["report", ".", "--outt", "x"], 2, "--out"),
    ],
)
def test_wrong_commands_are_told(
    home: Home, capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str
) -> None:
    outcome = run(words, capsys)
    assert outcome.code == code and says in outcome.err


def test_a_page_that_cannot_be_written_is_an_error(plain: Trained, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        onelook.report(plain.result.run_folder, out=tmp_path / "file" / "r.html")
    with pytest.raises(SettingsError):
        onelook.report()
