"""Cameras and streams, frame by frame; when to read them and how to reconnect is decided elsewhere."""

from __future__ import annotations

from typing import Any

from onelook.data.ffmpeg_options import CAPTURE_OPTIONS, STREAMS
from onelook.data.media import DEFAULT_FPS
from onelook.errors import DataError
from onelook.files.image_headers import MAX_PIXELS
from onelook.files.images import Image, opencv

OPEN_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = 10_000


class LiveVideo:
    """An open camera or stream, and the frames per second it promises, 30 if it does not; use as a context manager."""

    def __init__(self, capture: Any) -> None:
        cv2 = opencv()
        self._capture = capture
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= 1000 else DEFAULT_FPS

    def grab(self) -> bool:
        """Wait for the next frame; False if none comes any more."""
        return bool(self._capture.grab())

    def image(self) -> Image | None:
        """The frame grabbed last, (H, W, 3) uint8 RGB; None if it cannot be decoded."""
        is_good, bgr = self._capture.retrieve()
        if not is_good or bgr is None or bgr.shape[0] * bgr.shape[1] > MAX_PIXELS:
            return None
        cv2 = opencv()
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[no-any-return]

    def __enter__(self) -> LiveVideo:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()


def open_camera(number: int) -> LiveVideo:
    """The camera of that number, from 0; DataError if there is none, or another program has it."""
    capture = opencv().VideoCapture(number)
    if not capture.isOpened():
        raise DataError(
            f"camera {number} cannot be opened",
            hint="is it there, free, and are you allowed to use it? Cameras count from 0",
        )
    return LiveVideo(capture)


def open_stream(address: str, *, name: str) -> LiveVideo:
    """The stream at a network address, which may name no file of this machine.

    Args:
        address: address for FFmpeg; the time-out is 10 seconds.
        name: what to call it in messages: without passwords.

    Raises:
        DataError: nothing answers, or what does is no video.
    """
    cv2 = opencv()
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
    with CAPTURE_OPTIONS.set_to(STREAMS):
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        raise DataError(
            f"stream `{name}` cannot be opened: nothing answers, or it is not a video",
            hint="check the address, user and password with another program, such as ffplay or vlc",
        )
    return LiveVideo(capture)
