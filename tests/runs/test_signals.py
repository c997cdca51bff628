"""Ctrl-C, SIGTERM and SIGUSR1 at any moment of any command: exit code 75, everything whole, nobody left behind."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pytest
from checkpoint_content import content_of
from command_runs import Home, run, texts
from option_runs import QUICK
from rank_runs import status
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from onelook.errors import StopRequested
from onelook.models.detector import DetectionModel
from onelook.processes.stop_signal import REPEAT_SECONDS, SIGNALS
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.runs.own_checkpoints import load_newest
from onelook.runs.run_dir import RunDir
from onelook.training.callback import Callback, FitEnd

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are examined through /proc")

STOPPED = 75
SHORT = {**QUICK, "batch_size": 8}
DEADLINE_SECONDS = 600
HOLD = """
import os, signal, time
from pathlib import Path
import onelook

class Hold(onelook.Callback):
    # Waits at the step HOLD_STEP, or when the run has done all its epochs: for a signal, or for ever.
    def hold(self):
        Path(os.environ["HOLD_MARK"]).touch()
        signal.pause()
        while os.environ["HOLD_FOR"] == "ever":
            time.sleep(0.01)

    def on_step_end(self, event):
        if event.step == int(os.environ.get("HOLD_STEP", "-1")):
            self.hold()

    def on_checkpoint_written(self, event):
        if event.path.name == "last.safetensors" and os.environ.get("HOLD_EPOCH") == str(event.epoch):
            self.hold()
"""


@dataclass
class Ends(Callback):
    """Keeps what it hears at the end of runs."""

    heard: list[FitEnd] = field(default_factory=list)

    def on_fit_end(self, event: FitEnd) -> None:
        self.heard.append(event)


@dataclass(frozen=True)
class Command:
    """`python -m onelook` in a process group of its own."""

    process: subprocess.Popen[str]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "the command takes too long"
            time.sleep(0.01)

    def wait_until_it_listens(self) -> None:
        """Until a handler for SIGUSR1, the last to come, is there."""
        self.wait_until(lambda: bool(self._caught() >> (signal.SIGUSR1 - 1) & 1))

    def _caught(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("SigCgt")).split()[1], 16)

    def end(self) -> tuple[int, str, str]:
        """Exit code, output, errors; nothing of its group may be left."""
        out, err = self.process.communicate(timeout=DEADLINE_SECONDS)
        end = time.monotonic() + DEADLINE_SECONDS
        while left := members(self.process.pid):
            assert time.monotonic() < end, f"processes {left} were left behind"
            time.sleep(0.01)
        assert "Traceback" not in err, err
        return self.process.returncode, out, err


def start(words: list[str], **environment: object) -> Command:
    variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    command = [sys.executable, "-m", "onelook", *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=variables, start_new_session=True)
    return Command(process)


def members(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, *numbers = path.read_text().rsplit(")", 1)[1].split()[:4]
        except OSError:
            continue  # it has ended meanwhile
        if int(numbers[2]) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def learned(folder: Path) -> bytes:
    """The weights of a run, bit by bit, and its results; not the settings, which may say how it was done."""
    parts = [(folder / "results.csv").read_bytes()]
    for name in ("best", "last"):
        tensors = load_checkpoint(folder / "weights" / f"{name}.safetensors").tensors
        parts += [tensors[key].numpy().tobytes() for key in sorted(tensors)]
    return b"".join(parts)


@contextmanager
def signal_at_forward(number: signal.Signals, count: int) -> Iterator[list[int]]:
    """Raise a signal when a detector is about to predict on its `count`-th batch; counts them."""
    seen: list[int] = []

    def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(module, DetectionModel) and not given[0].is_meta:
            seen.append(len(given[0]))
            if len(seen) == count:
                signal.raise_signal(number)

    handle = register_module_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def training(home: Home, name: str, until: str, **where: object) -> tuple[Command, Path]:
    """A command that stands still somewhere, and the file that is there when it does."""
    mark = home.work / f"{name}.mark"
    words = home.train("--epochs", 3, "--callbacks", home.file("hold.py", HOLD), "--name", name, "--workers", 1)
    return start(words, HOLD_MARK=mark, HOLD_FOR=until, **where), mark


def check_resume(home: Home, name: str, least: int, most: int) -> None:
    """A stopped run has done so many steps, and is finished as if nothing had been."""
    folder = Path("runs/train", name)
    assert least <= load_newest(RunDir(folder)).document["progress"]["step"] <= most
    train({"resume": str(folder), "workers": 0})
    whole = train({**SHORT, "data": home.yaml, "cfg": home.model, "epochs": 3})
    assert learned(folder) == learned(whole.run_folder)


def test_real_processes_obey(home: Home) -> None:
    """One in training; `test_reading_data_obeys` has those that come earlier."""
    one, mark = training(home, "one", "a signal", HOLD_STEP=4)
    one.wait_until(mark.exists)
    assert len(members(one.process.pid)) == 2, "the command and its loader process"
    os.kill(one.process.pid, signal.SIGUSR1)
    os.killpg(one.process.pid, signal.SIGUSR1)  # as `timeout` does it: to the process, and to its group
    code, _, err = one.end()
    assert code == STOPPED and "stopped on request of SIGUSR1" in err
    assert status(Path("runs/train/one")) == ("stopped", STOPPED)
    check_resume(home, "one", 4, 4)


@pytest.mark.slow
def test_real_processes_obey_an_early_signal_a_second_one_and_one_after_training(home: Home) -> None:
    early = start(home.train("--name", "early"))
    early.wait_until_it_listens()
    early.process.terminate()
    code, _, err = early.end()
    assert (code, err) == (STOPPED, "stopped on request of SIGTERM\n")
    assert not Path("runs/train/early").exists()
    two, two_mark = training(home, "two", "ever", HOLD_STEP=8)
    late, late_mark = training(home, "late", "a signal", HOLD_EPOCH=3)
    two.wait_until(two_mark.exists)
    two.process.send_signal(signal.SIGINT)
    time.sleep(REPEAT_SECONDS + 0.1)
    second = time.monotonic()
    two.process.send_signal(signal.SIGINT)
    assert two.end()[0] == 128 + signal.SIGINT and time.monotonic() - second < 2
    late.wait_until(late_mark.exists)
    late.process.terminate()
    assert late.end()[0] == STOPPED
    assert status(Path("runs/train/two"))[0] == "running"
    assert status(Path("runs/train/late")) == ("stopped", STOPPED)
    check_resume(home, "two", 3, 7)
    check_resume(home, "late", 9, 9)


def test_a_run_stopped_in_validation_or_at_its_very_end_is_finished_by_resume(home: Home) -> None:
    """Two epochs of three batches, each with one batch of validation (4 and 8), and the final measurement (9)."""
    given = {**SHORT, "data": home.yaml, "cfg": home.model, "epochs": 2}
    whole = train(given)
    for forward in (8, 9):
        end, name = Ends(), f"stopped{forward}"
        with signal_at_forward(signal.SIGTERM, forward) as seen, pytest.raises(StopRequested):
            train({**given, "name": name}, callbacks=[end])
        assert [(event.reason, event.metrics) for event in end.heard] == [("stop requested", None)]
        assert len(seen) <= forward + 1
        resumed = train({"resume": f"runs/train/{name}"})
        for file in ("weights/best.safetensors", "weights/last.safetensors", "results.csv"):
            assert content_of(resumed.run_folder / file) == content_of(whole.run_folder / file), name
        assert resumed.metrics.map50_95 == whole.metrics.map50_95
        assert (resumed.run_folder / "metrics.json").is_file()


@pytest.mark.parametrize("cache", ["ram", pytest.param("disk", marks=pytest.mark.slow)])
def test_a_run_stopped_while_its_cache_is_filled_can_be_resumed(home: Home, cache: str) -> None:
    def interrupt(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name == f"{cache}_cache":
            sys.setprofile(None)  # the cache of validation comes next: a second signal would end the process
            signal.raise_signal(signal.SIGTERM)

    given = {**SHORT, "data": home.yaml, "cfg": home.model, "epochs": 1}
    whole = train(given)
    sys.setprofile(interrupt)
    try:
        with pytest.raises(StopRequested, match="stopped on request of SIGTERM"):
            train({**given, "cache": cache, "name": "stopped"})
    finally:
        sys.setprofile(None)
    folder = Path("runs/train/stopped")
    assert load_newest(RunDir(folder)).document["progress"]["step"] == 0
    train({"resume": str(folder)})
    assert learned(folder) == learned(whole.run_folder)


def test_val_obeys_and_leaves_nothing_half_written(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with signal_at_forward(signal.SIGUSR1, 2) as seen:
        outcome = run(home.val("--task", "train", "--batch-size", 4), capsys)
    assert outcome.code == STOPPED and outcome.err == "stopped on request of SIGUSR1\n"
    assert len(seen) == 2 and not list(Path("runs").rglob("*.json"))


@pytest.mark.parametrize("command", ["train", "val", "check", "anchors"])
def test_reading_data_obeys(home: Home, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The signal comes when the library reports its first split, or of what is amiss in it."""

    class Interrupt(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "train: 20 images" in record.getMessage():
                signal.raise_signal(signal.SIGTERM)

    words = {"train": home.train(), "val": home.val("--task", "train"), "check": texts("check", home.yaml),
             "anchors": texts("anchors", home.yaml, "--cfg", home.model)}[command]  # fmt: skip
    handler = Interrupt()
    logging.getLogger("onelook").addHandler(handler)
    try:
        outcome = run(words, capsys)
    finally:
        logging.getLogger("onelook").removeHandler(handler)
    assert outcome.code == STOPPED and "stopped" in outcome.err and "Traceback" not in outcome.err
    assert not list(Path("runs").rglob("*.json")) and not list(Path().rglob("*.safetensors"))


def test_detect_leaves_a_video_that_plays(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [np.full((64, 96, 3), 40 + number, np.uint8) for number in range(40)]
    writer = cv2.VideoWriter("hive.mp4", cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for frame in frames:
        writer.write(frame)
    writer.release()
    with signal_at_forward(signal.SIGINT, 3):
        outcome = run(home.detect("--source", "hive.mp4", "--batch-size", 4, "--save-csv"), capsys)
    assert outcome.code == STOPPED and outcome.err == "stopped on request of SIGINT\n"
    folder = Path("runs/detect/exp")
    assert {path.name for path in folder.iterdir()} == {"hive.mp4", "predictions.csv"}
    capture = cv2.VideoCapture(str(folder / "hive.mp4"))
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == 12, "three batches of four, all of them drawn"


def any_command(home: Home, kind: str) -> tuple[list[str], Path]:
    """A command line that does everything its command can do, and the run folder that it makes."""
    if kind == "train":
        options = ["--epochs", 25, "--workers", 1, "--noplots", "no", "--cache", "ram", "--name", "any"]
        return home.train(*options), Path("runs/train/any")
    if kind == "val":
        return home.val("--task", "train", "--batch-size", 1, "--noplots", "no", "--name", "any"), Path("runs/val/any")
    source = home.data / "images" / "train"
    return home.detect("--source", source, "--batch-size", 1, "--name", "any"), Path("runs/detect/any")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_any_command_obeys_at_any_moment(home: Home, seed: int) -> None:
    """A signal at a random moment, to the command or to its group; then `--resume` comes to the same end."""
    rng = np.random.default_rng(seed)
    kind = ("train", "train", "train", "val", "detect")[seed % 5]
    words, folder = any_command(home, kind)
    undisturbed = start(words)
    undisturbed.wait_until_it_listens()
    marks = [time.monotonic()]
    undisturbed.wait_until(folder.exists)
    marks.append(time.monotonic())
    assert undisturbed.end()[0] == 0
    before, after = marks[1] - marks[0], time.monotonic() - marks[1]
    shutil.move(folder, "whole")

    number = SIGNALS[int(rng.integers(3))]
    command = start(words)
    command.wait_until_it_listens()
    if rng.random() < 0.2:
        time.sleep(float(rng.uniform(0, before)))
    else:
        command.wait_until(folder.exists)
        time.sleep(after * rng.random() ** 3)  # most of that time goes into the images at the end
    if command.process.poll() is None:
        (os.killpg if rng.random() < 0.5 else os.kill)(command.process.pid, number)
    code, out, err = command.end()
    assert code in (0, STOPPED), f"{out}\n{err}"
    assert code == 0 or f"stopped on request of {number.name}" in err or "the scan of the dataset was stopped" in err
    if kind != "train" or not folder.exists():
        return
    assert status(folder)[1] == code
    assert load_newest(RunDir(folder)).document["kind"] == "training"
    if code == STOPPED:
        train({"resume": str(folder)})
    assert learned(folder) == learned(Path("whole"))
