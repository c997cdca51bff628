"""What people read: notes on standard output, warnings and errors on standard error, tracebacks only on demand."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict

from onelook.errors import OnelookError, StopRequested, without_controls

EXIT_SOFTWARE = 70
EXIT_MEMORY = 71
EXIT_IO = 74
EXIT_INTERRUPTED = 130
DEBUG_VARIABLE = "ONELOOK_DEBUG"
_HINTS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EACCES: "check the permissions, or choose another place with `--project`",
    errno.EPERM: "check the permissions, or choose another place with `--project`",
    errno.EROFS: "the disk is read-only; choose another place with `--project`",
    errno.EMFILE: "too many open files: use fewer `--workers`, or raise `ulimit -n`",
}


class _Lines(logging.Handler):
    """Prints records: notes as they are, others with their level in front; causes in one line unless debugging."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info is not None and record.exc_info[1] is not None:
            cause = record.exc_info[1]
            text += "\n" + "".join(traceback.format_exception(cause)) if _is_debugging() else f": {_named(cause)}"
        text = without_controls(text)
        if record.levelno < logging.WARNING:
            print(text)
        else:
            print(f"{record.levelname.lower()}: {text}", file=sys.stderr)


@contextmanager
def messages() -> Iterator[None]:
    """Print what the library logs; characters that a terminal cannot show are escaped, not fatal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    package = logging.getLogger("onelook")
    level, handler = package.level, _Lines()
    package.addHandler(handler)
    package.setLevel(logging.INFO if is_main_process() else logging.ERROR)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)


def report(problem: BaseException) -> int:
    """Say on standard error what went wrong and what to do about it; the exit code."""
    if _is_debugging():
        traceback.print_exception(problem)
    found = explained(problem)
    if not (isinstance(problem, OnelookError) and problem.is_told):
        is_fault = not isinstance(problem, StopRequested | KeyboardInterrupt)
        print(f"{'error: ' if is_fault else ''}{without_controls(found['error'])}", file=sys.stderr)
        if found["hint"] is not None:
            print(f"hint: {without_controls(found['hint'])}", file=sys.stderr)
    return found["exit_code"]


def is_main_process() -> bool:
    """Whether this process is the only one of its run, or the first of those that a launcher has started."""
    return os.environ.get("RANK", "0") == "0"


class Explanation(TypedDict):
    """What went wrong, the cure if we know it, and the exit code."""

    error: str
    hint: str | None
    exit_code: int


def explained(problem: BaseException) -> Explanation:
    """`problem` for people and programs."""
    if isinstance(problem, OnelookError):
        return Explanation(error=problem.message, hint=problem.hint, exit_code=problem.exit_code)
    if isinstance(problem, KeyboardInterrupt):
        return Explanation(error="interrupted", hint=None, exit_code=EXIT_INTERRUPTED)
    if _is_memory_shortage(problem):
        hint = "use a smaller `--batch-size` or `--imgsz`"
        return Explanation(error="not enough memory", hint=hint, exit_code=EXIT_MEMORY)
    if isinstance(problem, OSError):
        place = f"`{os.fsdecode(problem.filename)}`: " if isinstance(problem.filename, (str, bytes)) else ""
        text = f"{place}{problem.strerror or problem}"
        return Explanation(error=text, hint=_HINTS.get(problem.errno or 0), exit_code=EXIT_IO)
    return Explanation(
        error=f"this is a bug in Onelook, not your fault: {_named(problem)}",
        hint=f"please report it with the traceback that `{DEBUG_VARIABLE}=1` before the command shows",
        exit_code=EXIT_SOFTWARE,
    )


def _is_memory_shortage(problem: BaseException) -> bool:
    """Whether Python or torch ran out of memory; torch has its own exception for GPUs, and a message for CPUs."""
    is_torch = type(problem).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(problem)
    return isinstance(problem, MemoryError) or (isinstance(problem, RuntimeError) and is_torch)


def _named(problem: BaseException) -> str:
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def _is_debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
