"""Videos in and out, frame by frame; only local files, known by their content, are opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from onelook.data.ffmpeg_options import CAPTURE_OPTIONS, LOCAL_FILES
from onelook.data.video_container import HEAD_BYTES, Container, read_container, video_kind
from onelook.errors import DataError, counted
from onelook.files.atomic import temporary_of
from onelook.files.bounded import printable, read_bounded
from onelook.files.image_headers import MAX_PIXELS, DamagedImage, ShortOfBytes, read_header
from onelook.files.images import KIND_OF_SUFFIX, Image, opencv

VIDEO_SUFFIXES = frozenset(
    {
        ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
        ".ogv", ".ts", ".webm", ".wmv",
    }
)  # fmt: skip
DEFAULT_FPS = 30.0
MAX_FAILURES = 2000
"""Frames in a row that may fail before a video counts as ended: there may be good ones behind a hole in the file."""
MAX_RATE_TERM, LEAST_RATE, HIGHEST_RATE = 65535, 0.01, 9999.0
"""Largest numerator of a frame rate in MPEG-4, and the limits of the rates that are written."""
MAX_TIMES, MOSTLY = 108_000, 0.8
"""Times of frames that are kept to find gaps; and the share of even steps from which on a gap is one."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself.

    Attributes:
        fps: frames per second; 30 if the file does not say.
        num_frames: frames that there should be; 0 if the file does not say.
    """

    fps: float
    num_frames: int
    size_hw: tuple[int, int]


def media_kind(path: Path) -> Literal["image", "video"] | None:
    """What a file is, by its content, whatever its name; by its suffix if the content makes no sense; None if neither.

    Raises:
        DataError: it cannot be read.
    """
    head = read_bounded(path, HEAD_BYTES, prefix=True)
    if video_kind(head) is not None:
        return "video"
    try:
        read_header(head)
    except ShortOfBytes:
        return "image"
    except DamagedImage:
        suffix = path.suffix.lower()
        return "image" if suffix in KIND_OF_SUFFIX else "video" if suffix in VIDEO_SUFFIXES else None
    return "image"


def video_info(path: Path) -> VideoInfo:
    """Speed, length and size of a video.

    Raises:
        DataError: missing, not a video that we read, or larger than 100 million pixels per frame.
    """
    with _opened(path) as capture:
        return _info(capture)


def video_frames(path: Path, *, stride: int = 1) -> Iterator[tuple[int, Image]]:
    """Every `stride`-th frame with its number, which counts from 0: (H, W, 3) uint8 RGB.

    Frames in between are skipped without being converted. Frames that cannot be decoded are passed over and not
    counted; when all others have come, the loss is raised.

    Raises:
        DataError: see `video_info`; or, at the end, frames are lost, or there was none.
    """
    cv2 = opencv()
    with _opened(path) as capture:
        tally = _Tally(_info(capture), read_container(path))
        while _grab(capture, tally):
            if tally.num_good % stride == 0:
                is_good, bgr = capture.retrieve()
                if not is_good:
                    tally.num_failed += 1
                    continue
                yield tally.num_good, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            tally.num_good += 1
            if len(tally.times_ms) < MAX_TIMES:
                tally.times_ms.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)))
    if tally.num_good == 0:
        raise DataError(f"video `{printable(path)}` cannot be used: no frame of it can be decoded")
    if loss := tally.loss():
        raise DataError(f"video `{printable(path)}` is damaged: {loss}", hint="all others were processed")


def _grab(capture: Any, tally: _Tally) -> bool:
    """Move to the next frame that can be decoded; False if there is none."""
    for failed in range(MAX_FAILURES):
        if capture.grab():
            tally.num_failed += failed
            return True
        if tally.is_complete:
            return False
    return False


@dataclass
class _Tally:
    """Frames that came out of a video, beside what its container promises.

    Attributes:
        num_good: frames decoded.
        num_failed: frames that failed before a good one.
        times_ms: timestamps of the frames that were decoded; the first hour will do.
    """

    info: VideoInfo
    container: Container
    num_good: int = 0
    num_failed: int = 0
    times_ms: list[float] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether all frames that were promised have come."""
        return 0 < self.info.num_frames <= self.num_good and not self.num_failed

    def loss(self) -> str:
        """How many frames are lost, in words; empty if none are.

        A number of frames that is computed from the duration is a little off even in a whole file, whose sound may be
        longer than its images: it counts only beside another sign.
        """
        promised, missing = self.info.num_frames, self.info.num_frames - self.num_good
        if missing > 0 and self.container.count != "nothing":
            is_much = missing > max(self.info.fps, promised / 20)
            is_exact = self.container.count == "table"
            signs = (is_exact, self.container.is_cut, self.num_failed, self._has_gaps(), is_much)
            return f"{missing} of {promised} frames cannot be decoded" if any(signs) else ""
        if self.num_failed:
            return f"{counted(self.num_failed, 'frame')} cannot be decoded, beside {self.num_good} that can"
        return f"the file is cut off after {counted(self.num_good, 'frame')}" if self.container.is_cut else ""

    def _has_gaps(self) -> bool:
        """Whether frames that otherwise come evenly leave one out."""
        steps = np.diff(np.sort(np.array(self.times_ms)))
        steps = steps[steps > 0]
        if len(steps) < 4:
            return False
        usual = float(np.median(steps))
        is_even = np.abs(steps - usual) <= 0.25 * usual + 1
        return bool((steps > 1.6 * usual + 1).any() and is_even.mean() >= MOSTLY)


class VideoWriter:
    """Writes an MP4 (codec mp4v); it appears under its name when it is complete. Use as a context manager.

    Args:
        fps: frames per second; rounded to what the codec can say, see `writable_rate`.
        size_hw: height and width of every frame, pixels; odd ones are written with one more row or column, a copy.

    Raises:
        DataError: this build of OpenCV cannot write such a video.
    """

    def __init__(self, path: Path, *, fps: float, size_hw: tuple[int, int]) -> None:
        cv2 = opencv()
        self._path = path
        self._size_hw = size_hw
        temporary = temporary_of(path)
        self._temporary = temporary.with_name(f"{temporary.name}.mp4")
        code = cv2.VideoWriter_fourcc(*"mp4v")
        even_wh = (size_hw[1] + size_hw[1] % 2, size_hw[0] + size_hw[0] % 2)
        self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, code, writable_rate(fps), even_wh)
        if not self._writer.isOpened():
            self._temporary.unlink(missing_ok=True)
            raise DataError(
                f"video `{printable(path)}` cannot be written: {size_hw[1]} x {size_hw[0]} pixels at {fps:g} fps",
                hint="`--nosave` writes none",
            )

    def write(self, rgb: Image) -> None:
        """Append a frame, (H, W, 3) uint8 RGB; one of another size is resized."""
        cv2 = opencv()
        height, width = self._size_hw
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        fitting = bgr if bgr.shape[:2] == (height, width) else cv2.resize(bgr, (width, height))
        self._writer.write(cv2.copyMakeBorder(fitting, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE))

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            DataError: it is not whole, as on a full disk, of which OpenCV says nothing; it is removed.
        """
        self._writer.release()
        if not self._temporary.exists():
            return
        found = read_container(self._temporary)
        if found.problem or found.is_cut:
            self._temporary.unlink()
            problem = found.problem or "its end is missing"
            raise DataError(f"video `{printable(self._path)}` was not written whole: {problem}", hint="free some space")
        self._temporary.replace(self._path)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def writable_rate(fps: float) -> float:
    """`fps` as MPEG-4 can say it: a fraction of two numbers below 65,536, the lower one a power of ten.

    >>> [writable_rate(fps) for fps in (105611 / 500, 30000 / 1001, 1e-9, 9999.99)]
    [211.22, 29.97, 0.01, 9999.0]
    """
    digits = next(digits for digits in (3, 2, 1, 0) if fps * 10**digits < MAX_RATE_TERM or digits == 0)
    return min(max(LEAST_RATE, round(fps, digits)), HIGHEST_RATE)


def is_still(path: Path) -> bool:
    """Whether a video, such as a GIF, has one frame only; DataError: see `video_info`."""
    with _opened(path) as capture:
        return bool(capture.grab()) and not capture.grab()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A `cv2.VideoCapture` of a local video file."""
    name = printable(path)
    if video_kind(read_bounded(path, HEAD_BYTES, prefix=True)) is None:
        raise DataError(
            f"`{name}` cannot be used: its content is not a video that we read",
            hint=f"known are {', '.join(sorted(suffix[1:] for suffix in VIDEO_SUFFIXES))}",
        )
    if name != str(path):
        raise DataError(f"video `{name}` cannot be used: its name is not plain text", hint="rename it")
    cv2 = opencv()
    with CAPTURE_OPTIONS.set_to(LOCAL_FILES):
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    try:
        height, width = _info(capture).size_hw
        if not capture.isOpened() or not 0 < height * width <= MAX_PIXELS:
            reason = read_container(path).problem or f"{width} x {height} pixels, or an unknown codec"
            raise DataError(f"video `{name}` cannot be used: {reason}")
        yield capture
    finally:
        capture.release()


def _info(capture: Any) -> VideoInfo:
    cv2 = opencv()
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return VideoInfo(
        fps=fps if 0 < fps < 1e4 else DEFAULT_FPS,
        num_frames=max(0, int(min(capture.get(cv2.CAP_PROP_FRAME_COUNT), 1e9))),
        size_hw=(int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))),
    )
