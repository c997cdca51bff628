"""Detection in images, videos and live sources: the table of contents of a run."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Any

from onelook.callbacks.detection_files import DetectionFiles
from onelook.drawing.window import Window
from onelook.errors import DataError, SettingsError, counted
from onelook.exports.opening import load_runnable
from onelook.files.bounded import StrPath
from onelook.inference.detection_results import DetectResult, FrameResult
from onelook.inference.feature_maps import FeatureMaps
from onelook.inference.frame_predictor import FrameDetections, FramePredictor
from onelook.inference.predictor import Predictor, prediction_settings
from onelook.inference.sources.open_sources import opened, require_frames
from onelook.inference.sources.parse_source import Sources, find_sources
from onelook.inference.sources.prefetch import behind
from onelook.models.detector import DetectionModel
from onelook.processes.stop_signal import StopSignal
from onelook.runs.run_dir import RunDir
from onelook.settings.build import build_settings
from onelook.settings.detect import DetectSettings, LoadSettings
from onelook.settings.head import head_for_merging
from onelook.training.detector_file import write_inference_file

logger = logging.getLogger(__name__)

KEPT_LIVE_FRAMES = 1000
"""Number of newest results of live sources that are kept in memory."""
BATCHES_TO_WRITE = 2
"""Maximum number of batches that wait to be written; detection pauses while there are more."""


def detect(
    given: Mapping[str, Any], *, file: Path | None = None, observer: Callable[[FrameResult], None] | None = None
) -> DetectResult:
    """Find objects in images, videos and live sources.

    Files that cannot be read or written, in full or in part, are named in the result; all others are used. Three
    threads work at the same time: one reads, this one runs the network, one writes.

    Args:
        observer: called for every frame, in order, after its files are written.

    Raises:
        OnelookError: a setting, the weights or the source cannot be used, or no file of the source can.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; the files of what was processed are complete.
    """
    problems: list[DataError] = []
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        settings = build_settings(DetectSettings, given, file=file)
        sources = find_sources(settings.source)
        frame_predictor = _frame_predictor(settings, sources)
        window = stack.enter_context(Window()) if settings.view_img else None
        stop.check()
        updated = tuple(write_inference_file(path) for path in settings.weights) if settings.update else ()
        reading = stack.enter_context(opened(sources, settings, stop, on_problem=problems.append))
        stop.check()
        if reading.is_empty:
            raise reading.nothing(settings.source, problems)
        folder = _run_folder(settings, [*reading.file_numbers, *([file] if file else [])])
        names = frame_predictor.predictor.names
        files = stack.enter_context(
            DetectionFiles(folder, settings, names, has_numbers=reading.have_numbers, on_problem=problems.append)
        )
        batches = frame_predictor.predict(reading, stop.check, on_problem=problems.append)
        written = stack.enter_context(closing(behind(files.write, batches, waiting=BATCHES_TO_WRITE)))
        kept: deque[FrameResult] = deque(maxlen=KEPT_LIVE_FRAMES if sources.live else None)
        num_frames, begun = 0, time.perf_counter()
        for found in chain.from_iterable(written):
            kept.append(found.result)
            num_frames += 1
            if not _shown(found, observer, window):
                break
        spent = time.perf_counter() - begun
        stop.check()
    if problems:
        logger.warning("%s in %s", counted(len(problems), "problem"), reading.amount)
    seconds = {**frame_predictor.seconds, "write": files.seconds}
    return DetectResult(
        frames=tuple(kept),
        num_frames=num_frames,
        names=names,
        run_folder=folder,
        problems=reading.problems(problems),
        milliseconds={name: 1000 * value / max(num_frames, 1) for name, value in seconds.items()},
        frames_per_second=num_frames / max(spent, 1e-9),
        live=reading.live,
        inference_files=updated,
    )


def open_predictor(settings: LoadSettings) -> Predictor:
    """What finds objects with the weights and thresholds of the settings.

    Raises:
        OnelookError: the weights cannot be used, or not as the settings ask.
    """
    head, paths = head_for_merging(settings), settings.weights
    models = [load_runnable(path, settings.device, head=head) for path in paths]
    return Predictor(models, prediction_settings(settings), labels=[str(path) for path in paths])


def _frame_predictor(settings: DetectSettings, sources: Sources) -> FramePredictor:
    """The predictor of frames that the settings ask for."""
    require_frames(settings, sources)
    if not settings.visualize:
        return FramePredictor(settings, open_predictor(settings))
    if sources.live:
        raise SettingsError(
            f"setting `visualize` writes some 20 MB a frame, and `{sources.live[0].name}` has no end",
            hint="give images or a video",
        )
    model = load_runnable(settings.weights[0], settings.device, head=head_for_merging(settings))
    if not isinstance(model, DetectionModel):
        raise SettingsError("setting `visualize` is for PyTorch models: exported ones do not show their layers")
    maps = FeatureMaps(model)
    return FramePredictor(
        settings, Predictor(model, prediction_settings(settings), labels=[str(settings.weights[0])]), maps
    )


def _run_folder(settings: DetectSettings, inputs: Sequence[Path]) -> Path | None:
    """A new run folder; None if nothing is to be written; SettingsError if what is read lies in it."""
    if not DetectionFiles.are_wanted(settings):
        return None
    everything: list[StrPath] = [*inputs, *settings.source, *settings.weights]
    return RunDir.create(settings.project, settings.name, exist_ok=settings.exist_ok, inputs=everything).path


def _shown(found: FrameDetections, observer: Callable[[FrameResult], None] | None, window: Window | None) -> bool:
    """Report a frame that is done; whether to continue. Images in a window wait for a key."""
    if observer is not None:
        observer(found.result)
    if window is None or found.drawn is None:
        return True
    name = "onelook" if found.frame.video is None else found.frame.shown
    return window.show(name, found.drawn, wait=found.frame.video is None)
