"""What people read: notes on standard output, warnings and errors on standard error, tracebacks only on demand."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from onelook.errors import DEBUG_VARIABLE, OnelookError, StopRequested, explained, lost_if_full, named, without_controls


class _Lines(logging.Handler):
    """Prints records: notes as they are, others with their level in front; causes in one line unless debugging."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info is not None and record.exc_info[1] is not None:
            cause = record.exc_info[1]
            text += "\n" + "".join(traceback.format_exception(cause)) if _is_debugging() else f": {named(cause)}"
        text = without_controls(text)
        with lost_if_full():
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
        with lost_if_full():
            print(f"{'error: ' if is_fault else ''}{without_controls(found['error'])}", file=sys.stderr)
            if found["hint"] is not None:
                print(f"hint: {without_controls(found['hint'])}", file=sys.stderr)
    return found["exit_code"]


def is_main_process() -> bool:
    """Whether this process is the only one of its run, or the first of those that a launcher has started."""
    return os.environ.get("RANK", "0") == "0"


def _is_debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
