"""Which protocols FFmpeg may use, passed to OpenCV in the only way there is: an environment variable."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
LOCAL_FILES = "protocol_whitelist;file"
STREAMS = "protocol_whitelist;http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtmp,rtmps,crypto|rtsp_transport;tcp"


class CaptureOptions:
    """The options of videos that are opened meanwhile; several threads may open some at a time.

    Those who want the same options share them, others wait. Options that the user has set are left alone.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._value = ""
        self._is_ours = False

    @contextmanager
    def set_to(self, value: str) -> Iterator[None]:
        """`value` is in force within."""
        with self._changed:
            self._changed.wait_for(lambda: not self._users or self._value == value)
            if not self._users:
                self._value, self._is_ours = value, VARIABLE not in os.environ
                if self._is_ours:
                    os.environ[VARIABLE] = value
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                if not self._users:
                    if self._is_ours:
                        os.environ.pop(VARIABLE, None)
                    self._changed.notify_all()


CAPTURE_OPTIONS = CaptureOptions()
"""One for the process, as the environment is."""
