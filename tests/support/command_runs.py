"""A place of its own for each command of a test: data, weights and a working folder that can be compared afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from onelook.cli.main import main

State = dict[bytes, tuple[int, int, bytes]]


@dataclass(frozen=True)
class Home:
    """Where a test lives.

    Attributes:
        data: a dataset of the test's own.
        model: YAML of the tiny model.
        weights: a checkpoint of the tiny model, trained on two classes.
        work: the current folder; runs appear in its folder `runs`.
    """

    data: Path
    model: Path
    weights: Path
    work: Path

    @property
    def yaml(self) -> Path:
        return self.data / "data.yaml"

    def image(self, split: str = "train", number: int = 0) -> Path:
        return self.data / "images" / split / f"{number:03}.jpg"

    def label(self, split: str = "train", number: int = 0) -> Path:
        return self.data / "labels" / split / f"{number:03}.txt"

    def file(self, name: str, content: str | bytes) -> Path:
        """A file in the working folder."""
        path = self.work / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def describe(self, content: str) -> None:
        """Give the dataset another YAML."""
        self.yaml.write_text(content)

    def train(self, *words: object) -> list[str]:
        """The command line of a short training run; later words win over earlier ones."""
        fixed = ["--data", self.yaml, "--cfg", self.model, "--epochs", 1, "--batch-size", 8, "--imgsz", 64]
        quick = ["--workers", 0, "--device", "cpu", "--noplots", "--noreport", "--noautoanchor"]
        return texts("train", *fixed, *quick, *words)

    def val(self, *words: object) -> list[str]:
        fixed = ["--data", self.yaml, "--weights", self.weights, "--imgsz", 64, "--workers", 0, "--device", "cpu"]
        return texts("val", *fixed, "--noplots", *words)

    def detect(self, *words: object) -> list[str]:
        source = self.data / "images" / "test"
        return texts("detect", "--weights", self.weights, "--source", source, "--imgsz", 64, "--device", "cpu", *words)


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


def texts(*words: object) -> list[str]:
    return [str(word) for word in words]


def run(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> Outcome:
    """The command line `words`, run in this process."""
    capsys.readouterr()
    code = main(words)
    written = capsys.readouterr()
    return Outcome(code, written.out, written.err)


def state_of(folder: Path, *, with_times: bool = True) -> State:
    """Everything below a folder: names, modes, times of change, content; folders too."""
    found: State = {}
    for place, folders, files in os.walk(os.fsencode(folder)):
        for name in [*folders, *files]:
            path = Path(os.fsdecode(place), os.fsdecode(name))
            status = path.lstat()
            content = path.read_bytes() if name in files else b""
            found[os.fsencode(path)] = status.st_mtime_ns if with_times else 0, status.st_mode, content
    return found


@dataclass(frozen=True)
class Case:
    """A wrong input: how to make it, and what the user must be told.

    Attributes:
        name: of the test.
        words: prepares the home and gives the command line.
        code: the exit code.
        says: what the message names: file, line, value.
        hint: part of the hint; empty where the message itself says what is expected.
    """

    name: str
    words: Callable[[Home], list[str]]
    code: int
    says: tuple[str, ...]
    hint: str = ""

    def __str__(self) -> str:
        return self.name


def refuse(case: Case, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a case and check that it is refused in one clear message, before anything is written anywhere."""
    words = case.words(home)
    before = state_of(home.data), state_of(home.work, with_times=False)
    outcome = run(words, capsys)
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    message = outcome.err[outcome.err.find("error: ") :]
    assert outcome.code == case.code, message
    assert len(errors) == 1, outcome.err
    for part in case.says:
        assert part in message, message
    hints = [line for line in message.splitlines() if line.startswith("hint: ")]
    assert len(hints) == bool(case.hint), message
    assert case.hint in "".join(hints), message
    assert "Traceback" not in outcome.out + outcome.err
    assert (state_of(home.data), state_of(home.work, with_times=False)) == before, "something was written"
