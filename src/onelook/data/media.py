"""Videos in and out, frame by frame; only local files, known by their content, are opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.data.ffmpeg_options import CAPTURE_OPTIONS, LOCAL_FILES
from onelook.errors import DataError
from onelook.files.atomic import TEMPORARY_MARK
from onelook.files.bounded import printable, read_bounded
from onelook.files.images import MAX_PIXELS

Image = npt.NDArray[np.uint8]

VIDEO_SUFFIXES = frozenset(
    {".asf", ".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".wmv"}
)  # fmt: skip
DEFAULT_FPS = 30.0
_HEAD_BYTES = 400
_ASF, _MATROSKA = bytes.fromhex("3026b2758e66cf11"), bytes.fromhex("1a45dfa3")
_MPEG, _MPEG_PACK = bytes.fromhex("000001b3"), bytes.fromhex("000001ba")
_QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_TS_SYNC, _TS_PACKET = 0x47, 188


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself.

    Attributes:
        fps: frames per second; 30 if the file does not say.
        num_frames: how many frames there should be; 0 if the file does not say.
        size_hw: height and width, pixels.
    """

    fps: float
    num_frames: int
    size_hw: tuple[int, int]


def video_info(path: Path) -> VideoInfo:
    """Speed, length and size of a video.

    Raises:
        DataError: missing, not a video that we read, or larger than 100 million pixels per frame.
    """
    capture = _open(path)
    try:
        return _info(capture)
    finally:
        capture.release()


def video_frames(path: Path, *, stride: int = 1) -> Iterator[tuple[int, Image]]:
    """Every `stride`-th frame with its number, which counts from 0: (H, W, 3) uint8 RGB.

    Frames in between are skipped without being converted. The video ends at the first frame that cannot be decoded.

    Raises:
        DataError: see `video_info`; or not even the first frame can be decoded.
    """
    cv2 = opencv()
    capture = _open(path)
    try:
        number = 0
        while capture.grab():
            if number % stride == 0:
                is_good, bgr = capture.retrieve()
                if not is_good:
                    break
                yield number, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            number += 1
        if number == 0:
            raise DataError(f"video `{printable(path)}` cannot be used: no frame of it can be decoded")
    finally:
        capture.release()


class VideoWriter:
    """Writes an MP4 (codec mp4v); it appears under its name when it is complete. Use as a context manager.

    Args:
        path: final name, ending with `.mp4`.
        fps: frames per second.
        size_hw: height and width of every frame, pixels.

    Raises:
        DataError: this build of OpenCV cannot write such a video.
    """

    def __init__(self, path: Path, *, fps: float, size_hw: tuple[int, int]) -> None:
        cv2 = opencv()
        self._path = path
        self._size_hw = size_hw
        self._temporary = path.with_name(f"{path.name}{TEMPORARY_MARK}{os.getpid()}.mp4")
        code = cv2.VideoWriter_fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, code, fps, (size_hw[1], size_hw[0]))
        if not self._writer.isOpened():
            self._temporary.unlink(missing_ok=True)
            raise DataError(f"video `{printable(path)}` cannot be written", hint="use `--nosave`")

    def write(self, rgb: Image) -> None:
        """Append a frame, (H, W, 3) uint8 RGB; one of another size is resized."""
        cv2 = opencv()
        height, width = self._size_hw
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        self._writer.write(bgr if bgr.shape[:2] == (height, width) else cv2.resize(bgr, (width, height)))

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._writer.release()
        if self._temporary.exists():
            self._temporary.replace(self._path)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path) -> Any:
    """An open `cv2.VideoCapture` of a local video file."""
    name = printable(path)
    if not _is_video(read_bounded(path, _HEAD_BYTES, prefix=True)):
        raise DataError(
            f"`{name}` cannot be used: its content is no video that we read",
            hint=f"known are {', '.join(sorted(suffix[1:] for suffix in VIDEO_SUFFIXES))}",
        )
    if name != str(path):
        raise DataError(f"video `{name}` cannot be used: its name is not plain text", hint="rename it")
    cv2 = opencv()
    with CAPTURE_OPTIONS.set_to(LOCAL_FILES):
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    height, width = _info(capture).size_hw
    if not capture.isOpened() or not 0 < height * width <= MAX_PIXELS:
        capture.release()
        raise DataError(f"video `{name}` cannot be used: {width} x {height} pixels, or an unknown codec")
    return capture


def _info(capture: Any) -> VideoInfo:
    cv2 = opencv()
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return VideoInfo(
        fps=fps if 0 < fps < 1e4 else DEFAULT_FPS,
        num_frames=max(0, int(min(capture.get(cv2.CAP_PROP_FRAME_COUNT), 1e9))),
        size_hw=(int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))),
    )


def _is_video(head: bytes) -> bool:
    """Whether a file starts as a video does; playlists, which could name other files and hosts, do not."""
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return True
    if len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == _TS_SYNC:
        return True
    starts = (_ASF, _MATROSKA, _MPEG, _MPEG_PACK, b"GIF87a", b"GIF89a")
    return head.startswith(starts) or head[4:8] in _QUICKTIME_BOXES


def opencv() -> ModuleType:
    """OpenCV, told before its first video not to write to the console."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    import cv2

    return cv2  # type: ignore[no-any-return, unused-ignore]
