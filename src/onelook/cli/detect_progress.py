"""What a person sees while images are processed: a line for each, or one that follows a video in a terminal."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from onelook.callbacks.console import for_terminal
from onelook.inference.detection_results import FrameResult

REFRESH_SECONDS = 0.1
LOG_SECONDS = 1.0
RATE_SECONDS = 3.0
MEASURABLE_SECONDS = 0.5
"""Frames come in batches: the speed of fewer seconds would be that of a batch."""


class DetectProgress:
    """Shows frames as they are done; a context manager, which leaves the last line whole.

    A line for every image. For videos and live sources: in a terminal one line that follows them, ten times a second
    at most; elsewhere a line for every frame of a video, and one per second for a live source.

    Args:
        console: where to write; standard output by default.
        clock: gives seconds; frames per second are those of the last three seconds.
    """

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._console = Console(highlight=False) if console is None else console
        self._follows = self._console.is_terminal and not self._console.is_dumb_terminal
        self._clock = clock
        self._times: deque[float] = deque()
        self._pending: FrameResult | None = None
        self._last_shown: dict[str, float] = {}

    def show(self, frame: FrameResult) -> None:
        """Report a frame that is done."""
        now = self._clock()
        self._times.append(now)
        while self._times[0] < now - RATE_SECONDS:
            self._times.popleft()
        if self._pending is not None and self._pending.place != frame.place and frame.dropped is None:
            self._end_line()
        if frame.number is None:
            self._say(self._line(frame))
        elif self._follows:
            self._follow(frame, now)
        elif frame.dropped is None or self._is_due(frame.place, now, LOG_SECONDS):
            self._say(self._line(frame))

    def __enter__(self) -> DetectProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    def _follow(self, frame: FrameResult, now: float) -> None:
        self._pending = frame
        if self._is_due("", now, REFRESH_SECONDS):
            self._erase_line()
            self._say(self._line(frame), end="")

    def _end_line(self) -> None:
        """Show the newest frame of the line that follows, for good."""
        if self._pending is not None:
            self._erase_line()
            self._say(self._line(self._pending))
            self._pending = None

    def _is_due(self, what: str, now: float, seconds: float) -> bool:
        if now - self._last_shown.get(what, float("-inf")) < seconds:
            return False
        self._last_shown[what] = now
        return True

    def _line(self, frame: FrameResult) -> str:
        head = f"{frame.file_number}/{frame.num_files} " if frame.num_files > 1 else ""
        place = f"{head}{frame.place}"
        if frame.number is not None:
            place += f" frame {frame.number}" + (f"/{frame.num_frames}" if frame.num_frames else "")
        counts = Counter(frame.names[class_id] for class_id in frame.detections.class_ids.tolist())
        found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
        height, width = frame.size_hw
        line = f"{place}: {width}x{height}, {found}, {frame.milliseconds:.1f} ms"
        span = self._times[-1] - self._times[0]
        if frame.number is not None and span >= MEASURABLE_SECONDS:
            line += f", {(len(self._times) - 1) / span:.1f} per second"
        return line + (f", {frame.dropped} dropped" if frame.dropped else "")

    def _say(self, text: str, *, end: str = "\n") -> None:
        line = Text(for_terminal(text))
        if self._follows and end != "\n":
            line.truncate(self._console.width - 1, overflow="crop")
        self._console.print(line, end=end, soft_wrap=True)

    def _erase_line(self) -> None:
        if self._follows:
            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
