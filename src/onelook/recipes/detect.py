"""Detection in pictures and videos: the table of contents of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.callbacks.detection_files import DetectionFiles
from onelook.engine.predictor import PredictionSettings, Predictor
from onelook.engine.run_dir import RunDir
from onelook.engine.sources import Frame, batches_of, find_media, one_ahead, read_frames
from onelook.engine.stop_signal import StopSignal
from onelook.errors import DataError, combined
from onelook.exports.opening import load_runnable
from onelook.settings.build import build_settings
from onelook.settings.detect import DetectSettings
from onelook.structures.detections import Detections

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrameResult:
    """What was found in one picture or one frame of a video.

    Attributes:
        path: the picture or video.
        number: position in the video, from 0; None for a picture.
        num_frames: frames of the video, as far as it says; None for a picture.
        size_hw: height and width, pixels.
        detections: highest score first.
        names: class names.
        milliseconds: fitting, network and suppression, this frame's share of its batch.
    """

    path: Path
    number: int | None
    num_frames: int | None
    size_hw: tuple[int, int]
    detections: Detections
    names: tuple[str, ...]
    milliseconds: float


@dataclass(frozen=True)
class DetectResult:
    """What a detection run gives.

    Attributes:
        frames: one entry per picture and per frame looked at, in order.
        names: class names.
        run_folder: where the files are; None if none were asked for.
        problems: files that could not be used, each with the reason.
        milliseconds: per frame: "wait for pictures", "predict", "write".
    """

    frames: tuple[FrameResult, ...]
    names: tuple[str, ...]
    run_folder: Path | None
    problems: tuple[str, ...]
    milliseconds: dict[str, float]


def detect(
    given: Mapping[str, Any],
    *,
    file: Path | None = None,
    observer: Callable[[FrameResult], None] | None = None,
) -> DetectResult:
    """Find objects in pictures and videos.

    A file that cannot be used is passed over, with a warning, and named in the result.

    Args:
        given: settings by name; see `DetectSettings`.
        file: YAML file with more settings, weaker than `given`.
        observer: told about every frame when its files are written.

    Raises:
        OnelookError: a setting, the weights or the source cannot be used, or no file of the source can.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; the files of what was looked at are complete.
    """
    problems: list[DataError] = []
    seconds = dict.fromkeys(("wait for pictures", "predict", "write"), 0.0)
    results: list[FrameResult] = []
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        settings = build_settings(DetectSettings, given, file=file)
        paths = find_media(settings.source)
        predictor = open_predictor(settings)
        stop.check()
        wants_files = DetectionFiles.are_wanted(settings)
        run = RunDir.create(settings.project, settings.name, exist_ok=settings.exist_ok) if wants_files else None
        files = stack.enter_context(DetectionFiles(run.path, settings, predictor.names)) if run else None
        frames = read_frames(paths, vid_stride=settings.vid_stride, on_problem=problems.append)
        for batch in _timed(one_ahead(batches_of(frames, settings.batch_size)), seconds):
            found = _predict(predictor, batch, seconds)
            mark = time.perf_counter()
            for frame, result in zip(batch, found, strict=True):
                if files is not None:
                    files.write(frame, result.detections)
                if observer is not None:
                    observer(result)
            results += found
            seconds["write"] += time.perf_counter() - mark
            stop.check()
    if problems and not results:
        raise combined(DataError, f"no file of `{settings.source}` can be used:", [item.message for item in problems])
    if problems:
        logger.warning("%d of %d files were passed over", len(problems), len(paths))
    return DetectResult(
        frames=tuple(results),
        names=predictor.names,
        run_folder=run.path if run else None,
        problems=tuple(problem.message for problem in problems),
        milliseconds={name: 1000 * value / max(len(results), 1) for name, value in seconds.items()},
    )


def open_predictor(settings: DetectSettings) -> Predictor:
    """What finds objects with the weights and thresholds of the settings.

    Raises:
        OnelookError: the weights cannot be used, or not as the settings ask.
    """
    models = [load_runnable(path, settings.device) for path in settings.weights]
    return Predictor(models, prediction_settings(settings), labels=[str(path) for path in settings.weights])


def prediction_settings(settings: DetectSettings) -> PredictionSettings:
    """The part of the settings that the predictor needs."""
    return PredictionSettings(
        imgsz=(settings.imgsz[0], settings.imgsz[-1]),
        conf_thres=settings.conf_thres,
        iou_thres=settings.iou_thres,
        max_det=settings.max_det,
        classes=tuple(settings.classes) or None,
        agnostic_nms=settings.agnostic_nms,
        half=settings.half,
        augment=settings.augment,
    )


def _timed(batches: Iterator[list[Frame]], seconds: dict[str, float]) -> Iterator[list[Frame]]:
    mark = time.perf_counter()
    for batch in batches:
        seconds["wait for pictures"] += time.perf_counter() - mark
        yield batch
        mark = time.perf_counter()


def _predict(predictor: Predictor, batch: list[Frame], seconds: dict[str, float]) -> list[FrameResult]:
    mark = time.perf_counter()
    found = predictor.predict([frame.image for frame in batch])
    spent = time.perf_counter() - mark
    seconds["predict"] += spent
    return [
        FrameResult(
            path=frame.path,
            number=None if frame.video is None else frame.number,
            num_frames=None if frame.video is None else frame.video.num_frames,
            size_hw=(frame.image.shape[0], frame.image.shape[1]),
            detections=detections,
            names=predictor.names,
            milliseconds=1000 * spent / len(batch),
        )
        for frame, detections in zip(batch, found, strict=True)
    ]
