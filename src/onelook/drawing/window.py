"""Windows that show images as they are processed."""

from __future__ import annotations

import os
import re
import sys

import cv2
import numpy as np
import numpy.typing as npt

from onelook.errors import SettingsError

KEYS_TO_CLOSE = (ord("q"), 27)


class Window:
    """Windows by name, one for each source; use in the main thread, as a context manager.

    Raises:
        SettingsError: there is no display, or OpenCV was built without windows.
    """

    def __init__(self) -> None:
        _check_possible()
        self._names: list[str] = []

    def show(self, name: str, rgb: npt.NDArray[np.uint8], *, wait: bool) -> bool:
        """Show an image; False if the user pressed q or Esc, or closed the window.

        Args:
            rgb: (H, W, 3) uint8 RGB.
            wait: wait for a key; otherwise the image stays until the next one.
        """
        if name not in self._names:
            self._names.append(name)
            cv2.namedWindow(name, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(name, rgb.shape[1], rgb.shape[0])
        cv2.imshow(name, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(0 if wait else 1) & 0xFF
        is_open = cv2.getWindowProperty(name, cv2.WND_PROP_VISIBLE) >= 1
        return is_open and key not in KEYS_TO_CLOSE

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        cv2.destroyAllWindows()


def _check_possible() -> None:
    kind = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    if kind is None or kind[1] == "NONE":
        raise SettingsError(
            "setting `view_img` needs windows, and this build of OpenCV has none",
            hint="run: pip uninstall opencv-python-headless, then: pip install opencv-python; or open the files",
        )
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise SettingsError("setting `view_img` needs a display, and this session has none", hint="open the files")
