"""A script: Onelook on a system that has nothing of what only POSIX or only Linux has. Other packages keep theirs.

Usage: elsewhere.py DATA.yaml MODEL.yaml FOLDER. It ends with 0 if every command did, and prints where the runs are.
"""

from __future__ import annotations

import builtins
import io
import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLATFORM = "elsewhere"
HIDDEN = {
    "os": """O_CLOEXEC O_DIRECTORY O_DSYNC O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG chown ctermid fchmod fchown fork forkpty
        getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid killpg lchown
        link lockf major makedev mkfifo mknod nice openpty posix_fadvise posix_fallocate posix_spawn pread pwrite
        register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile setpgid setpriority setsid setuid
        statvfs symlink sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid waitpid""",
    "signal": """ITIMER_REAL SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2
        SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt
        sigpending sigtimedwait sigwait sigwaitinfo""",
    "sys": "",
    "time": "clock_gettime clock_gettime_ns pthread_getcpuclockid tzset",
    "socket": "AF_UNIX SO_REUSEPORT sethostname socketpair",
    "ctypes": "CDLL",
}
ABSENT = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
IN_PLACE = {"os": {"name": PLATFORM}, "sys": {"platform": PLATFORM}}
FOLDERS_OF_LINUX = ("/proc/", "/sys/", "/dev/")


class Without(types.ModuleType):
    """A module that lacks some names and has other values for some."""

    def __init__(self, whole: types.ModuleType) -> None:
        super().__init__(whole.__name__)
        self._whole, self._hidden = whole, frozenset(HIDDEN[whole.__name__].split())
        vars(self).update(IN_PLACE.get(whole.__name__, {}))

    def __getattr__(self, name: str) -> Any:
        if name in self._hidden:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} elsewhere")
        return getattr(self._whole, name)


def hide() -> None:
    """For modules of Onelook that are imported from now on; what Linux tells in files is hidden from all."""
    shown = {name: Without(__import__(name)) for name in HIDDEN}
    importing, opening = builtins.__import__, io.open

    def import_elsewhere(name: str, its_globals: Any = None, *rest: Any, **named: Any) -> Any:
        if its_globals and str(its_globals.get("__name__", "")).split(".")[0] == "onelook":
            if name in ABSENT:
                raise ImportError(f"no module {name!r} elsewhere")
            if name in shown:
                return shown[name]
        return importing(name, its_globals, *rest, **named)

    def open_elsewhere(file: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(file, str | os.PathLike) and os.fspath(file).startswith(FOLDERS_OF_LINUX):
            raise FileNotFoundError(file)
        return opening(file, *rest, **named)

    builtins.__import__, builtins.open, io.open = import_elsewhere, open_elsewhere, open_elsewhere  # type: ignore


hide()  # before anything of Onelook is imported, and in the processes that this one starts as well


def main(data: str, model: str, folder: str) -> int:
    import pytest
    from stop_at import StopAt

    from onelook.cli.main import main as onelook
    from onelook.errors import StopRequested
    from onelook.recipes.train import train

    multiprocessing.set_start_method("spawn")

    def run(*words: str) -> None:
        code = onelook(words)
        if code:
            raise SystemExit(f"`onelook {' '.join(words)}` ended with {code}")

    common = {"data": data, "cfg": model, "imgsz": 64, "batch_size": 8, "epochs": 2, "device": "cpu", "noplots": True}
    more = {**common, "noautoanchor": True, "project": folder}
    run("check", data)
    whole = train({**more, "name": "whole", "workers": 0})
    with pytest.raises(StopRequested):
        train({**more, "name": "stopped", "workers": 2}, callbacks=[StopAt(2, signal.SIGINT)])
    run("train", "--resume", f"{folder}/stopped")
    weights = str(whole.best)
    run("val", "--data", data, "--weights", weights, "--imgsz", "64", "--workers", "0", "--project", f"{folder}/val")
    images = str(Path(data).parent / "images" / "test")
    run("detect", "--weights", weights, "--source", images, "--imgsz", "64", "--project", f"{folder}/detect")
    return 0


if __name__ == "__main__":
    script: Callable[..., int] = main
    sys.exit(script(*sys.argv[1:]))
