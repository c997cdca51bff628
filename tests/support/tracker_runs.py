"""Runs that trackers follow, and what they are compared with."""

from __future__ import annotations

import csv
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onelook.callbacks.trackers.detached import Detached, TrackerKind
from onelook.callbacks.trackers.registry import TRACKERS
from onelook.callbacks.trackers.tracker import LabelledImage, Tracker
from onelook.files.images import write_image
from onelook.recipes.train import train
from onelook.recipes.train_result import TrainResult
from onelook.runs.checkpoint import load_checkpoint
from onelook.settings.train import TrainSettings
from onelook.training.callback import Callback, FitEnd, FitStart

Row = dict[str, float]
# Of a run on real images with everything drawn; half a minute on two cores.
REAL_RUN: dict[str, Any] = {
    "data": Path(__file__).parents[2] / "examples" / "bccd" / "data.yaml",
    "cfg": "yolov5n",
    "epochs": 2,
    "batch_size": 8,
    "imgsz": 160,
    "noplots": False,
}


def follow(name: str, settings: Mapping[str, Any], *others: Callback, **changes: Any) -> TrainResult:
    """Train with `settings` and `changes`, with the tracker `name` on, after `others`."""
    return train({**settings, **changes}, callbacks=[*others, Detached({name: TRACKERS[name]})])


def bits_of(result: TrainResult) -> list[bytes]:
    """All weights and the rows of a run, bit for bit."""
    files = load_checkpoint(result.last).tensors, load_checkpoint(result.best).tensors
    weights = [tensors[name].numpy().tobytes() for tensors in files for name in sorted(tensors)]
    return [*weights, (result.run_folder / "results.csv").read_bytes()]


def results_of(run_folder: Path) -> dict[int, Row]:
    """Epoch -> the numbers of its line in `results.csv`, empty cells left out."""
    with (run_folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    return {int(row.pop("epoch")): row for row in rows}


def beginning(folder: Path, names: tuple[str, ...] = ("bee",), **settings: Any) -> FitStart:
    """A run of one image that begins."""
    return FitStart(
        settings=TrainSettings(**settings), run_folder=folder, names=names, num_train_images=1, num_val_images=1,
        batches_per_epoch=1, start_epoch=0, start_batch=0, device="CPU", model_summary="tiny",
    )  # fmt: skip


class Draw(Callback):
    """Writes `labels.png` at the start of a run and `results.jpg` at its end: real plots take seconds."""

    def __init__(self) -> None:
        self._folder = Path()

    def on_fit_start(self, event: FitStart) -> None:
        self._folder = event.run_folder
        if event.start_epoch == 0 and event.start_batch == 0:
            self._write("labels.png")

    def on_fit_end(self, event: FitEnd) -> None:
        self._write("results.jpg")

    def _write(self, name: str) -> None:
        write_image(self._folder / name, np.full((20, 30, 3), 114, np.uint8))


class Notebook:
    """A tracker that remembers everything.

    Attributes:
        calls: name of the method and its arguments, in order.
        threads: names of the threads that called.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.threads: set[str] = set()

    def start(self, run: FitStart) -> None:
        self._note("start", run)

    def log_row(self, epoch: int, row: Mapping[str, float]) -> None:
        self._note("log_row", epoch, dict(row))

    def log_images(self, paths: Sequence[Path]) -> None:
        self._note("log_images", list(paths))

    def log_boxes(self, epoch: int, images: Sequence[LabelledImage]) -> None:
        self._note("log_boxes", epoch, list(images))

    def log_model(self, path: Path, aliases: Sequence[str], metadata: Mapping[str, float]) -> None:
        self._note("log_model", path, tuple(aliases), dict(metadata))

    def finish(self, end: FitEnd) -> None:
        self._note("finish", end)

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of all calls of one method."""
        return [arguments for called, arguments in self.calls if called == name]

    def _note(self, name: str, *arguments: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self.calls.append((name, arguments))


def kind_of(tracker: Tracker) -> TrackerKind:
    """The entry of a registry that gives just this tracker."""
    return TrackerKind(lambda: tracker, ("no-such-package",))
