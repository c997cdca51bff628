"""Whether a process of this machine runs, and how one is ended at once: on POSIX and on Windows.

Imports nothing heavy: a command asks for this before it imports torch.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

# Windows has no SIGKILL; there `os.kill` with SIGTERM ends a process at once.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def is_running(number: int) -> bool:
    """Whether there is a process with this number, of whichever user."""
    if sys.platform == "win32":
        return _is_running_on_windows(number)
    try:
        with suppress(PermissionError):  # it is there, and not ours
            os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def kill_group(number: int) -> None:
    """End a process at once, and the group that it leads where the system has groups.

    Raises:
        OSError: it has ended, or is not ours.
    """
    (os.killpg if hasattr(os, "killpg") else os.kill)(number, KILL)


if sys.platform == "win32":
    import ctypes

    def _is_running_on_windows(number: int) -> bool:
        """As `is_running`; `os.kill` with 0 would send Ctrl-C there."""
        synchronize, timed_out, access_denied = 0x100000, 0x102, 5
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        kernel.WaitForSingleObject.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        kernel.CloseHandle.argtypes = [ctypes.c_void_p]
        handle = kernel.OpenProcess(synchronize, False, number)
        if not handle:
            return ctypes.get_last_error() == access_denied
        try:
            return bool(kernel.WaitForSingleObject(handle, 0) == timed_out)
        finally:
            kernel.CloseHandle(handle)
