"""The lines of a detection: one for each image, one that follows a video in a terminal, few in a log of a stream."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from onelook.cli.detect_progress import DetectProgress
from onelook.inference.detection_results import FrameResult
from onelook.structures.detections import Detections

IMAGE = FrameResult(
    path=Path("hive.jpg"),
    place="hive.jpg",
    number=None,
    num_frames=None,
    size_hw=(48, 64),
    detections=Detections(np.zeros((3, 4), np.float32), np.ones(3, np.float32), np.array([1, 0, 1])),
    names=("bee", "wasp"),
    milliseconds=12.34,
    file_number=2,
    num_files=7,
)
VIDEO = replace(IMAGE, place="a.mp4", number=0, num_frames=50, file_number=1, num_files=1)
STREAM = replace(VIDEO, place="camera 0", num_frames=0, file_number=0, num_files=0, dropped=0)


class Clock:
    """Seconds that advance by `step` every time they are asked for."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def shown(frames: list[FrameResult], *, is_terminal: bool = False, step: float = 0.05) -> list[str]:
    """What is written, divided where the cursor goes back to the start of a line or to the next."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=is_terminal, width=100, color_system=None, highlight=False)
    with DetectProgress(console, clock=Clock(step)) as progress:
        for frame in frames:
            progress.show(frame)
    return [line for line in text.getvalue().replace("\r\x1b[2K", "\n").split("\n") if line]


def test_an_image_has_its_line_with_its_number_and_what_was_found() -> None:
    for is_terminal in (False, True):
        lines = shown([IMAGE, replace(IMAGE, place="b.jpg", detections=Detections.empty())], is_terminal=is_terminal)
        assert lines == ["2/7 hive.jpg: 64x48, 1 bee, 2 wasp, 12.3 ms", "2/7 b.jpg: 64x48, nothing, 12.3 ms"]


def test_a_log_has_a_line_for_every_frame_of_a_video_with_its_speed() -> None:
    lines = shown([replace(VIDEO, number=number) for number in range(50)])
    assert len(lines) == 50
    assert lines[0] == "a.mp4 frame 0/50: 64x48, 1 bee, 2 wasp, 12.3 ms"
    assert lines[-1] == "a.mp4 frame 49/50: 64x48, 1 bee, 2 wasp, 12.3 ms, 20.0 per second"


def test_the_speed_is_that_of_the_last_seconds() -> None:
    clock = Clock(0.05)
    text = io.StringIO()
    progress = DetectProgress(Console(file=text, width=200), clock=clock)
    for number in range(120):
        clock.step = 0.05 if number < 50 else 0.1
        progress.show(replace(VIDEO, number=number))
    assert text.getvalue().splitlines()[-1].endswith("10.0 per second")


def test_in_a_terminal_one_line_follows_a_video_and_stays_with_its_last_frame() -> None:
    frames = [replace(VIDEO, number=number) for number in range(50)]
    lines = shown([*frames, replace(VIDEO, place="b.mp4", number=0)], is_terminal=True)
    assert 20 <= len(lines) <= 30, "ten times a second at most"
    assert [line for line in lines if line.startswith("a.mp4")][-1].startswith("a.mp4 frame 49/50: ")
    assert lines[-1].startswith("b.mp4 frame 0/50")


def test_a_log_of_a_stream_has_a_line_a_second_for_each_source() -> None:
    frames = [replace(STREAM, place=f"camera {n % 2}", number=n // 2, dropped=n) for n in range(100)]
    lines = shown(frames, step=0.05)
    assert len(lines) == 10 and sum(line.startswith("camera 0 frame ") for line in lines) == 5
    assert re.search(r", 20\.0 per second, 8\d dropped$", lines[-1])


def test_names_cannot_steer_the_terminal() -> None:
    (line,) = shown([replace(IMAGE, place="a\x1b[2Jb", names=("\x1b]0;x", "[red]w"))])
    assert line == "2/7 a?[2Jb: 64x48, 1 ?]0;x, 2 [red]w, 12.3 ms"


@pytest.mark.parametrize("width", [20, 60])
def test_a_line_that_follows_never_wraps(width: int) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=width, color_system=None)
    progress = DetectProgress(console, clock=Clock(1))
    progress.show(replace(VIDEO, place="x" * 100))
    assert len(text.getvalue().replace("\r\x1b[2K", "")) == width - 1
