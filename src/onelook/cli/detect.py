"""`onelook detect`: arguments to the detection recipe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from onelook.cli.command_result import CommandResult
from onelook.cli.detect_progress import DetectProgress
from onelook.errors import DataError, OnelookError, combined, counted
from onelook.inference.detection_results import DetectResult, described
from onelook.inference.sources.live import LiveCount
from onelook.recipes.detect import detect
from onelook.settings.command_line import typed_options
from onelook.settings.detect import DetectSettings


def run(arguments: argparse.Namespace) -> CommandResult:
    with DetectProgress() as progress:
        result = detect(typed_options(arguments, DetectSettings), file=arguments.settings, observer=progress.show)
    for count in result.live:
        print(_became(count))
    times = ", ".join(f"{name} {value:.1f}" for name, value in result.milliseconds.items())
    images = counted(result.num_frames, "image")
    print(f"{images}, {result.frames_per_second:.1f} per second; milliseconds per image: {times}")
    if result.frames and not any(len(frame.detections) for frame in result.frames):
        print("no detections: try a lower `--conf-thres`, or train longer")
    if result.run_folder is not None:
        print(f"results are in {result.run_folder}")
    return CommandResult(_document(result), _problem(result.problems))


def _document(result: DetectResult) -> dict[str, Any]:
    frames = [
        {"file": frame.place, "frame": frame.number, "height": frame.size_hw[0], "width": frame.size_hw[1],
         "detections": described(frame.detections, frame.names)}
        for frame in result.frames
    ]  # fmt: skip
    return {**vars(result), "frames": frames}


def _problem(problems: Sequence[str]) -> OnelookError | None:
    """One error for all files that could not be used."""
    if not problems:
        return None
    hint = "everything else was processed; try again with intact files"
    if len(problems) == 1:
        return DataError(problems[0], hint=hint)
    return combined(DataError, "not every file or stream could be used in full:", problems, hint=hint)


def _became(count: LiveCount) -> str:
    again = f", reconnected {counted(count.reconnected, 'time')}" if count.reconnected else ""
    return f"{count.name}: {counted(count.taken, 'frame')} processed, {count.dropped} dropped{again}"
