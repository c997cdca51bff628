"""The protocol of a tracker, and the data that it is given. Threads: see `detached.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections


@dataclass(frozen=True)
class TrackedRun:
    """The run that a tracker follows.

    Attributes:
        settings: all settings by name, hyperparameters and options of trackers included; values are plain JSON.
        run_folder: where the run writes.
        project: name of the group of runs: the folder of the run folders, or "onelook" for `runs/train`.
        name: name of the run: that of its folder.
        names: class names; may hold any characters.
        is_resumed: whether an earlier process has begun this run.
        start_epoch: the first epoch whose row will be logged; rows of earlier ones may have been logged before.
        model_summary, device: descriptions for people.
        indexes: images and labels by split, "train" and "val".
    """

    settings: Mapping[str, Any]
    run_folder: Path
    project: str
    name: str
    names: tuple[str, ...]
    is_resumed: bool = False
    start_epoch: int = 0
    model_summary: str = ""
    device: str = ""
    indexes: Mapping[str, DatasetIndex] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledImage:
    """One validation image with its labels and detections.

    Attributes:
        path: the image file.
        size_hw: height and width of the image after EXIF rotation, pixels.
        detections: boxes in pixels of the image.
        label_boxes: (N, 4) float64 xyxy, pixels of the image.
        label_class_ids: (N,) int64.
    """

    path: Path
    size_hw: tuple[int, int]
    names: tuple[str, ...]
    detections: Detections
    label_boxes: npt.NDArray[np.float64]
    label_class_ids: npt.NDArray[np.int64]

    @property
    def labels(self) -> list[tuple[list[float], int]]:
        """Corners and class id of each label, as plain values."""
        return list(zip(self.label_boxes.tolist(), self.label_class_ids.tolist(), strict=True))


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes:
        reason: as in `FitEnd`.
        is_complete: False if the run was told to stop and will be resumed.
        epochs_done: epochs that are complete.
        best_epoch: epoch of the best fitness, from 0; -1 if none was validated.
        metrics: those of the best weights, by the names of `results.csv`, and `fitness`; empty unless complete.
    """

    reason: str
    is_complete: bool
    epochs_done: int
    best_epoch: int
    metrics: Mapping[str, float]

    @property
    def best(self) -> dict[str, float]:
        """The metrics as `best/...`."""
        return {f"best/{name.removeprefix('metrics/')}": value for name, value in self.metrics.items()}


class Tracker(Protocol):
    """Keeps the data of a run by means of one package.

    It is created in the main thread, where it imports its package; all calls come in a thread of its own, in the order
    `start`, any number of `log_...`, `finish`. They may be slow, and raise: the run continues and the tracker is
    switched off with a warning. They must not use torch or OpenCV: the main thread forks loader processes meanwhile,
    which would inherit their locks in the locked state.
    """

    def start(self, run: TrackedRun) -> None:
        """Begin to follow a run, or resume it, and keep its settings."""

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

    def finish(self, summary: RunSummary) -> None:
        """Keep how the run ended. The last call."""


@runtime_checkable
class ShowsBoxes(Protocol):
    """A tracker that can show boxes on images."""

    def log_boxes(self, epoch: int, images: Sequence[LabelledImage]) -> None:
        """Keep validation images with labels and detections of `epoch`."""
