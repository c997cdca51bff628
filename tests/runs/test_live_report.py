"""The report of a run that trains: followed in a browser, by the process that a training starts, to the end."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from browser import Browser
from command_runs import run
from option_runs import Options, covers
from report_runs import make_results

from onelook.callbacks.progress_file import EpochProgress, ProgressFile, read_progress
from onelook.callbacks.report_process import free_port
from onelook.recipes.live_report import follow
from onelook.recipes.train import train
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import new_run
from onelook.settings.train import TrainSettings
from onelook.training.callback import Callback, EpochEnd, FitStart, Observers, StepEnd

SECONDS = 600  # for what takes seconds where nothing else runs
HEAD = "epoch,train/box_loss,metrics/precision,metrics/recall,metrics/mAP_0.5,metrics/mAP_0.5:0.95"


class Training:
    """A run folder that somebody trains in: here, the test."""

    def __init__(self, folder: Path) -> None:
        self.run = RunDir(folder)
        folder.mkdir()
        self.run.begin(new_run())
        self.run.settings.write_text("epochs: 20\nimgsz: 64\n")
        self.write(1)

    def write(self, epochs: int) -> None:
        rows = [",".join(str(row[name]) for name in HEAD.split(",")) for row in make_results(20)[:epochs]]
        self.run.results.write_text("\n".join([HEAD, *rows]) + "\n")

    def train_for(self, seconds: float, *, batch: int) -> None:
        """Take an epoch from its first batch to this one, as a callback sees it."""
        now = [0.0]
        file = ProgressFile(self.run.progress, clock=lambda: now[0])
        file.on_fit_start(fit_start(self.run.path))
        file.on_step_end(step_end(1, 0))
        now[0] = seconds
        file.on_step_end(step_end(1, batch))

    def end(self) -> None:
        self.run.write_status("finished", exit_code=0)


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path / "exp")


@pytest.fixture
def url(training: Training) -> Iterator[str]:
    """Where the report of `training` is followed, until the test ends it."""
    told: list[str] = []
    port = free_port(0)
    given = {"runs": [training.run.path], "watch": True, "port": port}
    thread = threading.Thread(target=follow, args=(given,), kwargs={"on_start": told.append}, daemon=True)
    thread.start()
    until = time.monotonic() + SECONDS
    while not told and time.monotonic() < until:
        thread.join(0.02)
    yield told[0]
    training.end()
    thread.join(SECONDS)
    assert not thread.is_alive(), "it has not ended with the run"


def fit_start(folder: Path) -> FitStart:
    return FitStart(
        settings=TrainSettings(epochs=3), run_folder=folder, names=("bee",), num_train_images=128, num_val_images=8,
        batches_per_epoch=8, start_epoch=0, start_batch=0, device="CPU", model_summary="yolov5n",
    )  # fmt: skip


def step_end(epoch: int, batch: int) -> StepEnd:
    return StepEnd(epoch, batch, 8 * epoch + batch, torch.tensor([0.05, 0.03, 0.01]), (0.1, 0.1, 0.1), 16, 40, 640)


def answer(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


@covers("report", "watch", "port")
def test_the_page_takes_over_what_has_changed_and_nothing_else(
    browser: Browser, training: Training, url: str, tmp_path: Path
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in training.run.path.iterdir()}
    tab = browser.open(url, width=1280, height=900)
    tab.evaluate("document.querySelector('#settings').dataset.mark = 'mine'")
    tab.evaluate("document.querySelector('#curves').dataset.mark = 'mine'")
    assert "has not ended" in tab.evaluate("document.querySelector('#summary').textContent")
    training.write(12)
    tab.wait_for("document.querySelector('#summary').textContent.includes('12')", seconds=SECONDS)
    assert tab.evaluate("document.querySelector('#settings').dataset.mark") == "mine"
    assert tab.evaluate("document.querySelector('#curves').dataset.mark || ''") == ""
    shown = float(tab.evaluate("document.querySelector('#curves .value').textContent"))
    assert shown == pytest.approx(make_results(20)[11]["metrics/mAP_0.5:0.95"], rel=1e-3), "the new chart lives"
    after = {path.name: path.stat().st_mtime_ns for path in training.run.path.iterdir()}
    assert {**after, "results.csv": 0} == {**before, "results.csv": 0}, "the run folder is only read"
    assert tab.evaluate("document.querySelector('#epoch').hidden"), "nothing is known of this epoch yet"
    training.train_for(10.0, batch=1)
    tab.wait_for("document.querySelector('#epoch span').textContent.includes('batch 2/8')", seconds=SECONDS)
    assert tab.evaluate("document.querySelector('#epoch progress').value") == 0.25
    for width in (390, 1280):
        tab.resize(width, 800, mobile=width == 390)
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        if folder := os.environ.get("ONELOOK_SCREENSHOTS"):
            tab.screenshot(Path(folder) / f"live-{width}.png")
    training.end()
    tab.wait_for("document.querySelector('#live').textContent.includes('has ended (finished)')", seconds=SECONDS)
    assert "has not ended" not in tab.evaluate("document.querySelector('#summary').textContent")
    assert tab.evaluate("document.querySelector('#epoch').hidden") and not training.run.progress.exists()
    assert tab.errors == [] and {one.rsplit("/", 1)[0] for one in tab.requests} == {url}
    tab.close()


def test_a_run_says_every_five_seconds_where_its_epoch_is(training: Training) -> None:
    training.train_for(4.9, batch=3)
    assert read_progress(training.run.progress) is None
    training.train_for(8.0, batch=3)
    text = "epoch 1/2, batch 4/8, 2.0 img/s, 0:11 left, run 0:32 left; box 0.0500, obj 0.0300, cls 0.0100"
    assert read_progress(training.run.progress) == EpochProgress(0.5, text)


def test_an_epoch_that_says_where_it_is_says_when_its_batches_are_done(training: Training) -> None:
    file = ProgressFile(training.run.progress, clock=lambda: now)
    now = 0.0
    file.on_fit_start(fit_start(training.run.path))
    file.on_step_end(step_end(0, 7))
    assert not training.run.progress.exists(), "short epochs say nothing"
    now = 6.0
    file.on_step_end(step_end(1, 0))
    now = 7.0
    file.on_step_end(step_end(1, 7))
    found = read_progress(training.run.progress)
    assert found is not None and found.share == 1


@pytest.mark.parametrize("place", ["gone/progress.json", "file/progress.json", "folder"])
def test_a_progress_that_cannot_be_written_neither_ends_the_run_nor_is_given_up(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    now = 0.0
    observers = Observers([file := ProgressFile(tmp_path / place, clock=lambda: now)])
    observers.send(fit_start(tmp_path))
    for now in (6.0, 12.0):
        observers.send(step_end(0, int(now) // 6))
    file._path = tmp_path / "file"  # the disk is back
    now = 18.0
    observers.send(step_end(0, 3))
    assert read_progress(tmp_path / "file") is not None


def test_a_slow_disk_takes_a_small_share_of_the_time(training: Training) -> None:
    """Each write takes 10 seconds: between two of them are 200, not the 5 that have long passed."""
    seconds = iter([0.0, 6.0, 16.0, 17.0, 215.0, 217.0, 227.0])
    file = ProgressFile(training.run.progress, clock=lambda: next(seconds))
    file.on_fit_start(fit_start(training.run.path))
    written = []
    for batch in range(4):
        file.on_step_end(step_end(1, batch))
        written.append(read_progress(training.run.progress))
    shares = [progress.share if progress else None for progress in written]
    assert shares == [1 / 8, 1 / 8, 1 / 8, 4 / 8] and next(seconds, None) is None


def test_where_an_epoch_was_is_forgotten_when_the_run_goes_on(training: Training) -> None:
    training.train_for(8.0, batch=3)
    training.run.begin(training.run.record)
    assert not training.run.progress.exists()


@pytest.mark.parametrize(
    "content", ["", "[" * 9999, '{"format": 1, "share": 1e9, "text": ""}', '{"format": 1, "share": 1}', "x" * 70_000]
)
def test_a_damaged_progress_is_none(content: str, training: Training) -> None:
    training.run.progress.write_text(content)
    assert read_progress(training.run.progress) is None


def test_nobody_else_may_ask(url: str) -> None:
    assert answer(url)[0] == 200 and json.loads(answer(f"{url}/state")[1])["ended"] is False
    assert answer(url, Host="evil.example")[0] == 421
    assert answer(url, Origin="http://evil.example")[0] == 403
    assert answer(url, Cookie="x" * 40000)[0] in (400, 431)
    status, text = answer(f"{url}/weights/last.safetensors")
    assert status == 404 and "GET /state" in text
    assert answer(f"{url}/../../etc/passwd")[0] == 404


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("report {exp} --watch --out page.html", 64, "`out` has no effect with `watch`"),
        ("report {exp} {exp} --watch", 64, "`watch` follows one run, not 2"),
        ("report {exp} --port 8009", 64, "`port` has no effect without `watch`"),
        ("report {exp} --watch", 73, "is not training\nhint: `onelook report"),
        ("report none --watch", 73, "`none` does not exist"),
    ],
)
def test_what_cannot_be_followed_is_refused(
    words: str, code: int, says: str, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    training.end()
    outcome = run(words.format(exp=training.run.path).split(), capsys)
    assert outcome.code == code and says in outcome.err


def test_another_process_with_the_number_of_a_dead_one_is_not_the_run(
    training: Training, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelook.recipes.live_report.SECONDS_WITHOUT_PROCESS", 0.0)
    status = json.loads(training.run.status.read_text())
    training.run.status.write_text(json.dumps({**status, "ticks": "1"}))
    assert status["state"] == "running" and status["pid"] == os.getpid()
    outcome = run(["report", str(training.run.path), "--watch"], capsys)
    assert outcome.code == 73 and "is not training" in outcome.err


class Look(Callback):
    """Asks the report that a training says it serves, until it answers."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.url = ""
        self.state: dict[str, object] = {}

    def on_epoch_end(self, event: EpochEnd) -> None:
        self.url = re.findall(r"follow the run at (http://127\.0\.0\.1:\d+)", self._caplog.text)[0]
        until = time.monotonic() + SECONDS
        while not self.state and time.monotonic() < until:
            try:
                self.state = json.loads(answer(f"{self.url}/state")[1])
            except OSError:
                time.sleep(0.1)


@covers("train", "serve_report")
def test_a_training_starts_a_process_that_follows_it(options: Options, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "onelook")
    look = Look(caplog)
    train({**options, "serve_report": True, "noreport": True}, callbacks=[look])
    assert (look.state["state"], look.state["ended"]) == ("running", False)
    with pytest.raises(OSError):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:  # it ends once pages have had the time to fetch the end
            answer(f"{look.url}/state")
            time.sleep(0.1)
