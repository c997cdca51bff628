"""Sends the events of a run to trackers, each in its own thread: training never waits for them."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from onelook.callbacks.installation import installed_version
from onelook.callbacks.trackers.tracker import LabelledImage, RunSummary, ShowsBoxes, TrackedRun, Tracker
from onelook.callbacks.trackers.worker import MISSING, Call, TrackerThread
from onelook.errors import counted
from onelook.runs.run_dir import RunDir
from onelook.structures.detections import Detections
from onelook.structures.results import metrics_row
from onelook.training.callback import Callback, CheckpointWritten, EpochEnd, FitEnd, FitStart

logger = logging.getLogger(__name__)

FINISH_SECONDS = 60.0
STOP_SECONDS = 10.0
MAX_BOXED_IMAGES = 16
DEFAULT_PROJECT = "onelook"
IMAGES = (".png", ".jpg")


@dataclass(frozen=True)
class TrackerKind:
    """How a tracker is made.

    Attributes:
        create: imports the package and creates the tracker.
        packages: names under which the package may be installed, for messages.
    """

    create: Callable[[], Tracker]
    packages: tuple[str, ...]


class Detached(Callback):
    """Sends the events of a run to trackers.

    A tracker that cannot be created, or fails, costs one warning. While one is slow or blocked, calls wait in a bounded
    queue; when that is full, rows are kept for the end of the run, other calls are dropped and counted. At the end all
    trackers together get `FINISH_SECONDS`, or `STOP_SECONDS` if the run was stopped; then they are abandoned.
    """

    _run: TrackedRun  # since on_fit_start

    def __init__(
        self,
        kinds: Mapping[str, TrackerKind],
        *,
        finish_seconds: float = FINISH_SECONDS,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._kinds = kinds
        self._finish_seconds = finish_seconds
        self._stop_seconds = stop_seconds
        self._threads: list[TrackerThread] = []
        self._missed_rows: dict[str, set[int]] = {}
        self._num_dropped: Counter[str] = Counter()
        self._images: dict[str, int] = {}

    def on_fit_start(self, event: FitStart) -> None:
        """Create the trackers, and send the settings and the images of the data."""
        run = self._run = tracked_run(event)
        for name, kind in self._kinds.items():
            tracker = _created(name, kind)
            if tracker is not None:
                self._threads.append(TrackerThread(name, tracker))
        self._send(lambda tracker: tracker.start(run))
        images = self._new_images()
        if images and not run.is_resumed:
            self._send(lambda tracker: tracker.log_images(images))

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Send the row, new images of the run folder, and boxes if they are due."""
        for thread in self._threads:
            if not thread.send(partial(_log_row, event.row)):
                self._missed_rows.setdefault(thread.name, set()).add(event.epoch)
        images = self._new_images()
        if images:
            self._send(lambda tracker: tracker.log_images(images))
        if event.detections and self._boxes_are_due(event.epoch):
            boxed = boxed_images(self._run, event.detections)
            self._send(partial(_log_boxes, event.epoch, boxed))

    def on_checkpoint_written(self, event: CheckpointWritten) -> None:
        """Send the checkpoints of `save_period`, which stay."""
        if event.path.stem.startswith("epoch"):
            aliases, metadata = (event.path.stem,), {"epoch": float(event.epoch - 1), "step": float(event.step)}
            path = event.path.resolve()
            self._send(lambda tracker: tracker.log_model(path, aliases, metadata))

    def on_fit_end(self, event: FitEnd) -> None:
        """Send late rows, the final metrics, the last images and the best model; then wait for the trackers."""
        is_complete = event.metrics is not None
        metrics = {**metrics_row(event.metrics), "fitness": event.metrics.fitness} if event.metrics is not None else {}
        summary = RunSummary(event.reason, is_complete, event.epochs_done, event.best_epoch, metrics)
        images = self._new_images()
        until = time.monotonic() + (self._finish_seconds if is_complete else self._stop_seconds)
        for thread in self._threads:
            missed = self._missed_rows.get(thread.name, set())
            rows = [row for row in event.history if row["epoch"] in missed]
            thread.send_last(partial(self._end, rows, images, summary), until - time.monotonic())
        for thread in self._threads:
            if thread.is_on and self._num_dropped[thread.name]:
                logger.warning(
                    "tracker `%s` was too slow: images, boxes or models were left out %s",
                    thread.name,
                    counted(self._num_dropped[thread.name], "time"),
                )
            thread.wait(until - time.monotonic())

    def _end(
        self, rows: Sequence[Mapping[str, float]], images: Sequence[Path], summary: RunSummary, tracker: Tracker
    ) -> None:
        for row in rows:
            _log_row(row, tracker)
        if images:
            tracker.log_images(images)
        if summary.is_complete:
            tracker.log_model(RunDir(self._run.run_folder).best, ("best",), summary.metrics)
        tracker.finish(summary)

    def _send(self, call: Call) -> None:
        for thread in self._threads:
            if not thread.send(call):
                self._num_dropped[thread.name] += 1

    def _new_images(self) -> list[Path]:
        """Images of the run folder that are new or have changed since the last call."""
        with os.scandir(self._run.run_folder) as entries:
            found = {entry.path: entry.stat().st_mtime_ns for entry in entries if entry.name.endswith(IMAGES)}
        new = sorted(path for path, written in found.items() if self._images.get(path) != written)
        self._images = found
        return [Path(path) for path in new]

    def _boxes_are_due(self, epoch: int) -> bool:
        epochs, interval = int(self._run.settings["epochs"]), int(self._run.settings["bbox_interval"])
        period = interval if interval >= 0 else max(epochs // 10, 1)
        return period > 0 and ((epoch + 1) % period == 0 or epoch + 1 == epochs)


def boxed_images(run: TrackedRun, detections: Sequence[Detections]) -> list[LabelledImage]:
    """Labels and detections of at most 16 images spread over the validation split, always the same ones."""
    index = run.indexes["val"]
    boxed = []
    for image in np.linspace(0, len(index) - 1, min(MAX_BOXED_IMAGES, len(index))).astype(int).tolist():
        labels, size_hw = index.image_labels(image), index.size_of(image)
        path = Path(index.paths[image]).absolute()
        boxed.append(LabelledImage(path, size_hw, run.names, detections[image], labels.boxes, labels.class_ids))
    return boxed


def tracked_run(event: FitStart) -> TrackedRun:
    """What trackers receive at the start of a run."""
    folder = event.run_folder.resolve()
    is_default = folder.parent.parts[-2:] == ("runs", "train")
    return TrackedRun(
        settings=event.settings.model_dump(mode="json"),
        run_folder=folder,
        project=DEFAULT_PROJECT if is_default else folder.parent.name or DEFAULT_PROJECT,
        name=folder.name,
        names=event.names,
        is_resumed=(event.start_epoch, event.start_batch) != (0, 0),
        start_epoch=event.start_epoch,
        model_summary=event.model_summary,
        device=event.device,
        indexes=event.indexes,
    )


def _created(name: str, kind: TrackerKind) -> Tracker | None:
    """The tracker, or None with a warning: a package that is missing or broken does not stop a run."""
    try:
        return kind.create()
    except ModuleNotFoundError as problem:
        logger.warning(MISSING, name, problem.name)
    except (Exception, SystemExit):
        logger.warning("tracker `%s` is off: %s cannot be used", name, _installed(kind.packages), exc_info=True)
    return None


def _installed(packages: Sequence[str]) -> str:
    """The first of `packages` that is installed, with its version."""
    found = next((package for package in packages if installed_version(package)), packages[0])
    return f"package `{found}` {installed_version(found)}".rstrip()


def _log_row(row: Mapping[str, float], tracker: Tracker) -> None:
    values = {name: value for name, value in row.items() if name != "epoch"}
    tracker.log_row(int(row["epoch"]), values)


def _log_boxes(epoch: int, boxed: Sequence[LabelledImage], tracker: Tracker) -> None:
    if isinstance(tracker, ShowsBoxes):
        tracker.log_boxes(epoch, boxed)
