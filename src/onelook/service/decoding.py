"""Decoding in a separate process, which can be killed: some forged images of a few kilobytes take minutes."""

from __future__ import annotations

import math
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import numpy as np

from onelook.files.image_headers import DamagedImage
from onelook.files.images import Image, decode_image

READY, DECODED, DAMAGED = b"r", b"d", b"x"
_SIZES = struct.Struct("<QQ")  # height and width; or 0 and the length of a message
_LENGTH = struct.Struct("<Qd")  # bytes of the file, and the time limit in seconds
_MORE_SECONDS = 2.0
_PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
from onelook.service.decoding import work; work(int(sys.argv[2]))
"""


class Decoder:
    """Decodes images one at a time in a process of its own, which ends with this one.

    Args:
        seconds: time limit for an image, after which its process is killed; the next image gets a new one.
        max_pixels: images with more are refused.
    """

    def __init__(self, seconds: float, max_pixels: int) -> None:
        self._seconds = seconds
        self._max_pixels = max_pixels
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()

    def __call__(self, data: bytes) -> Image:
        """(H, W, 3) uint8 RGB of an image file, see `decode_image`.

        Raises:
            DamagedImage: it cannot be decoded, not in time, or its process crashes.
        """
        process = self.start()
        assert process.stdin is not None and process.stdout is not None
        timer, begun = threading.Timer(self._seconds, process.kill), math.inf
        try:
            _read(process.stdout, len(READY))
            begun = time.monotonic()
            timer.start()
            process.stdin.write(_LENGTH.pack(len(data), self._seconds) + data)
            process.stdin.flush()
            return _answer(process.stdout)
        except (EOFError, OSError) as problem:
            is_slow = time.monotonic() - begun >= self._seconds
            process.kill()
            process.wait()
            slow = f"decoding it takes longer than {self._seconds:g} seconds"
            raise DamagedImage(slow if is_slow else "the process that decoded it crashed") from problem
        finally:
            timer.cancel()

    def start(self) -> subprocess.Popen[bytes]:
        """Its process, started unless it runs: the first image need not wait for that if it is called before.

        Raises:
            DamagedImage: the decoder is closed.
        """
        with self._changing:
            if self._closed:
                raise DamagedImage("the service has ended")
            if self._process is None or self._process.poll() is not None:
                self._process = _started(self._max_pixels)
            return self._process

    def close(self) -> None:
        """Kill the process."""
        with self._changing:
            self._closed = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()


def work(max_pixels: int) -> None:
    """The loop of the decoding process: decode each image from standard input until that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while True:
        target.write(READY)
        target.flush()
        try:
            length, seconds = _LENGTH.unpack(_read(source, _LENGTH.size))
        except EOFError:
            return
        data = _read(source, length)
        _end_after(seconds + _MORE_SECONDS)  # even if the parent has been killed
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
