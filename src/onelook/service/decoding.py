"""Decoding in a process of its own, which can be killed: some images of a few kilobytes take minutes."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from onelook.files.image_headers import MAX_PIXELS, DamagedImage
from onelook.files.images import decode_image

Image = npt.NDArray[np.uint8]

READY, DECODED, DAMAGED = b"r", b"d", b"x"
_SIZES = struct.Struct("<QQ")  # height and width; or 0 and the length of a text
_LENGTH = struct.Struct("<Qd")  # bytes of a file, and the seconds that it may take
_MORE_SECONDS = 2.0
_PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
from onelook.service.decoding import work; work(int(sys.argv[2]))
"""


class Decoder:
    """Decodes images one at a time in a process of its own, which ends with this one.

    Args:
        seconds: time limit of an image; then its process is killed, and the next image gets a new one.
        max_pixels: images with more are refused.
    """

    def __init__(self, seconds: float, max_pixels: int = MAX_PIXELS) -> None:
        self._seconds = seconds
        self._max_pixels = max_pixels
        self._closed = False
        self._process = _started(self._max_pixels)

    def __call__(self, data: bytes) -> Image:
        """(H, W, 3) uint8 RGB of an image file, see `decode_image`.

        Raises:
            DamagedImage: it cannot be decoded, or not in time.
        """
        if self._process.poll() is not None and not self._closed:
            self._process = _started(self._max_pixels)
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            _read(process.stdout, len(READY))
            timer = threading.Timer(self._seconds, process.kill)
            timer.start()
            try:
                process.stdin.write(_LENGTH.pack(len(data), self._seconds) + data)
                process.stdin.flush()
                return _answer(process.stdout)
            finally:
                timer.cancel()
        except (EOFError, OSError) as problem:
            process.kill()
            process.wait()
            raise DamagedImage(f"decoding it takes longer than {self._seconds:g} seconds") from problem

    def close(self) -> None:
        """End the process, whatever it does."""
        self._closed = True
        self._process.kill()
        self._process.wait()


def work(max_pixels: int) -> None:
    """What the process does: decode what comes in, until nothing does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while True:
        target.write(READY)
        target.flush()
        try:
            length, seconds = _LENGTH.unpack(_read(source, _LENGTH.size))
        except EOFError:
            return
        data = _read(source, length)
        _end_after(seconds + _MORE_SECONDS)  # even if the process that asks has been killed
        try:
            image = decode_image(data, max_pixels=max_pixels)
            target.write(DECODED + _SIZES.pack(*image.shape[:2]))
            target.write(image.data)
        except DamagedImage as problem:
            text = str(problem).encode()
            target.write(DAMAGED + _SIZES.pack(0, len(text)) + text)
        target.flush()
        _end_after(0)


def _end_after(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _started(max_pixels: int) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, root, str(max_pixels)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _answer(source: IO[bytes]) -> Image:
    kind = _read(source, 1)
    height, width = _SIZES.unpack(_read(source, _SIZES.size))
    if kind == DAMAGED:
        raise DamagedImage(_read(source, width).decode())
    image = np.empty((height, width, 3), np.uint8)
    if source.readinto(image.data.cast("B")) < image.nbytes:  # type: ignore[attr-defined]
        raise EOFError
    return image


def _read(source: IO[bytes], length: int) -> bytes:
    data = source.read(length)
    if len(data) < length:
        raise EOFError
    return data
