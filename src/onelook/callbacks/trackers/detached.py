"""Sends the events of a run to trackers, each in its own thread: training never waits for them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from onelook.callbacks.installation import installed_version
from onelook.callbacks.trackers.tracker import LabelledImage, ShowsBoxes, Tracker, final_metrics
from onelook.callbacks.trackers.worker import MISSING, Call, TrackerThread
from onelook.errors import counted
from onelook.runs.run_dir import RunDir
from onelook.structures.detections import Detections
from onelook.training.callback import Callback, CheckpointWritten, EpochEnd, FitEnd, FitStart

logger = logging.getLogger(__name__)

FINISH_SECONDS = 60.0
STOP_SECONDS = 10.0
MAX_BOXED_IMAGES = 16
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

    A tracker that cannot be created, or fails, costs one warning. While one is slow or blocked, calls wait in a queue;
    rows always do, others are dropped and counted while 256 wait. At the end all trackers together get
    `FINISH_SECONDS`, or `STOP_SECONDS` if the run was stopped; then they are abandoned.
    """

    _run: FitStart  # since on_fit_start

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
        self._images: dict[str, int] = {}

    def on_fit_start(self, event: FitStart) -> None:
        """Create the trackers, and send the settings and the images of the data."""
        run = self._run = replace(event, run_folder=event.run_folder.resolve())
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
            thread.send(partial(_log_row, event.row))
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
        """Send the final metrics, the last images and the best model; then wait for the trackers."""
        images = self._new_images()
        until = time.monotonic() + (self._stop_seconds if event.metrics is None else self._finish_seconds)
        for thread in self._threads:
            thread.send(partial(self._end, images, event))
            thread.send(None)
        for thread in self._threads:
            if thread.is_on and thread.num_dropped:
                logger.warning(
                    "tracker `%s` was too slow: images, boxes or models were left out %s",
                    thread.name,
                    counted(thread.num_dropped, "time"),
                )
            thread.wait(until - time.monotonic())

    def _end(self, images: Sequence[Path], end: FitEnd, tracker: Tracker) -> None:
        if images:
            tracker.log_images(images)
        if end.metrics is not None:
            tracker.log_model(RunDir(self._run.run_folder).best, ("best",), final_metrics(end))
        tracker.finish(end)

    def _send(self, call: Call) -> None:
        for thread in self._threads:
            thread.send(call, may_drop=True)

    def _new_images(self) -> list[Path]:
        """Images of the run folder that are new or have changed since the last call."""
        with os.scandir(self._run.run_folder) as entries:
            found = {entry.path: entry.stat().st_mtime_ns for entry in entries if entry.name.endswith(IMAGES)}
        new = sorted(path for path, written in found.items() if self._images.get(path) != written)
        self._images = found
        return [Path(path) for path in new]

    def _boxes_are_due(self, epoch: int) -> bool:
        epochs, interval = self._run.settings.epochs, self._run.settings.bbox_interval
        period = interval if interval >= 0 else max(epochs // 10, 1)
        return period > 0 and ((epoch + 1) % period == 0 or epoch + 1 == epochs)


def boxed_images(run: FitStart, detections: Sequence[Detections]) -> list[LabelledImage]:
    """Labels and detections of at most 16 images spread over the validation split, always the same ones."""
    index = run.indexes["val"]
    boxed = []
    for image in np.linspace(0, len(index) - 1, min(MAX_BOXED_IMAGES, len(index))).astype(int).tolist():
        path, own = Path(index.paths[image]).absolute(), index.image_labels(image)
        labels = list(zip(own.boxes.tolist(), own.class_ids.tolist(), strict=True))
        boxed.append(LabelledImage(path, index.size_of(image), run.names, detections[image], labels))
    return boxed


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
