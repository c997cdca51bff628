"""The protocol of a tracker, and the data that it is given. Threads: see `detached.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from onelook.structures.detections import Detections
from onelook.structures.results import metrics_row
from onelook.training.callback import FitEnd, FitStart

DEFAULT_PROJECT = "onelook"


@dataclass(frozen=True)
class LabelledImage:
    """One validation image with its labels and detections.

    Attributes:
        path: the image file.
        size_hw: height and width of the image after EXIF rotation, pixels.
        detections: boxes in pixels of the image.
        labels: corners, pixels of the image, and class id of each label, as plain values.
    """

    path: Path
    size_hw: tuple[int, int]
    names: tuple[str, ...]
    detections: Detections
    labels: list[tuple[list[float], int]]


def project_of(run_folder: Path) -> str:
    """Name of the group of runs: the folder of the run folders, or "onelook" for `runs/train`."""
    is_default = run_folder.parent.parts[-2:] == ("runs", "train")
    return DEFAULT_PROJECT if is_default else run_folder.parent.name or DEFAULT_PROJECT


def final_metrics(end: FitEnd) -> dict[str, float]:
    """The metrics of the best weights, by the names of `results.csv`, and `fitness`; none of a run that was stopped."""
    if end.metrics is None:
        return {}
    return {**metrics_row(end.metrics), "fitness": end.metrics.fitness}


def best_metrics(end: FitEnd) -> dict[str, float]:
    """The same as `best/...`."""
    return {f"best/{name.removeprefix('metrics/')}": value for name, value in final_metrics(end).items()}


class Tracker(Protocol):
    """Keeps the data of a run by means of one package.

    It is created in the main thread, where it imports its package; all calls come in a thread of its own, in the order
    `start`, any number of `log_...`, `finish`. They may be slow, and raise: the run continues and the tracker is
    switched off with a warning. They must not use torch or OpenCV: the main thread forks loader processes meanwhile,
    which would inherit their locks in the locked state.
    """

    def start(self, run: FitStart) -> None:
        """Begin to follow a run, or resume it, and keep its settings; its folder is an absolute path."""

    def log_row(self, epoch: int, row: Mapping[str, float]) -> None:
        """Keep the line of `results.csv` of `epoch`, by its column names, `epoch` left out.

        Entries of validation are missing if the epoch was not validated; values may be nan.
        """

    def log_images(self, paths: Sequence[Path]) -> None:
        """Keep images of the run folder; one of the same name replaces an earlier one."""

    def log_model(self, path: Path, aliases: Sequence[str], metadata: Mapping[str, float]) -> None:
        """Keep a checkpoint.

        Args:
            path: a file that does not change during the run.
            aliases: "best", or "epoch7" for a checkpoint that `save_period` asks for.
            metadata: numbers that describe it.
        """

    def finish(self, end: FitEnd) -> None:
        """Keep how the run ended. The last call."""


@runtime_checkable
class ShowsBoxes(Protocol):
    """A tracker that can show boxes on images."""

    def log_boxes(self, epoch: int, images: Sequence[LabelledImage]) -> None:
        """Keep validation images with labels and detections of `epoch`."""
