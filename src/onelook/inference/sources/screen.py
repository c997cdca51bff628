"""The screen as a live source, through the package `mss`."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.errors import DataError, SettingsError
from onelook.inference.sources.addresses import ScreenArea

FPS = 30.0


class ScreenInput:
    """The screen, at most 30 times a second; use in one thread, as a context manager.

    Raises:
        SettingsError: the package is missing.
        DataError: there is no screen, or not that monitor or part of it.
    """

    def __init__(self, wanted: ScreenArea) -> None:
        mss = screen_package()
        self.fps = FPS
        self._error: type[Exception] = mss.ScreenShotError
        self._next = time.monotonic()
        try:
            self._screen: Any = mss.MSS() if hasattr(mss, "MSS") else mss.mss()
            try:
                self._area = _within(self._screen.monitors, wanted)
            except BaseException:
                self._screen.close()
                raise
        except self._error as problem:
            raise DataError(
                f"the screen cannot be seen: {problem}",
                hint="on Linux an X server is needed, on macOS the permission to record the screen",
            ) from problem
        self._shot: Any = None

    def grab(self) -> bool:
        """Wait for the next frame; False if the screen is gone."""
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next + 1 / FPS)
        try:
            self._shot = self._screen.grab(self._area)
        except self._error:
            return False
        return True

    def image(self) -> npt.NDArray[np.uint8] | None:
        """The frame grabbed last, (H, W, 3) uint8 RGB."""
        bgra = np.frombuffer(self._shot.bgra, np.uint8).reshape(self._shot.height, self._shot.width, 4)
        return np.ascontiguousarray(bgra[..., 2::-1])

    def __enter__(self) -> ScreenInput:
        return self

    def __exit__(self, *_: object) -> None:
        self._screen.close()


def screen_package() -> ModuleType:
    """The package `mss`; SettingsError if it is missing."""
    try:
        import mss
    except ImportError as problem:
        raise SettingsError(
            "source `screen` needs the package `mss`, which is missing", hint='run: pip install "onelook[screen]"'
        ) from problem
    return mss  # type: ignore[no-any-return, unused-ignore]


def _within(monitors: list[dict[str, int]], wanted: ScreenArea) -> dict[str, int]:
    """The area to grab, in pixels of the desktop; DataError if it is not there."""
    if wanted.number >= len(monitors):
        raise DataError(
            f"source `screen {wanted.number}`: there is no monitor with that number",
            hint=f"there are {len(monitors) - 1}, counted from 1; 0 is all of them together",
        )
    monitor = monitors[wanted.number]
    if wanted.area is None:
        return {side: monitor[side] for side in ("left", "top", "width", "height")}
    left, top, width, height = wanted.area
    if min(left, top) < 0 or left + width > monitor["width"] or top + height > monitor["height"]:
        raise DataError(
            f"source `screen {wanted.number} {left} {top} {width} {height}` reaches beyond the monitor",
            hint=f"it has {monitor['width']} x {monitor['height']} pixels",
        )
    return {"left": monitor["left"] + left, "top": monitor["top"] + top, "width": width, "height": height}
