"""Every exception that a user of Onelook can meet, on one page, each with its exit code.

This file decides how a problem is named and shown; where it is found is the business of the code that raises it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypedDict

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, ends of lines, directions of writing, and halves of characters, which no file takes."""
EXIT_SOFTWARE = 70
EXIT_MEMORY = 71
EXIT_IO = 74
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141
DEBUG_VARIABLE = "ONELOOK_DEBUG"
_HINTS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EACCES: "check the permissions, or choose another place with `--project`",
    errno.EPERM: "check the permissions, or choose another place with `--project`",
    errno.EROFS: "the disk is read-only; choose another place with `--project`",
    errno.EMFILE: "too many open files: use fewer `--workers`, or raise `ulimit -n`",
}


def without_controls(text: str) -> str:
    r"""A message whose lines hold no control characters, whoever wrote what it quotes.

    >>> without_controls("a" + chr(27) + "[31m" + chr(10) + "b")
    'a\\x1b[31m\nb'
    """
    return CONTROLS.sub(lambda found: found[0] if found[0] in "\n\t" else ascii(found[0])[1:-1], text)


def counted(number: int, thing: str) -> str:
    """A number with its noun, in the plural unless it is 1.

    >>> [counted(number, thing) for number, thing in ((1, "image"), (1200, "box"), (0, "category"))]
    ['1 image', '1,200 boxes', '0 categories']
    """
    many = thing[:-1] + "ies" if thing.endswith("ry") else thing + ("es" if thing.endswith(("s", "x", "tch")) else "s")
    return f"{number:,} {thing if number == 1 else many}"


@contextmanager
def lost_if_full() -> Iterator[None]:
    """Print lines that may be lost where a log file finds no space on its disk; the work itself may not."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


class OnelookError(Exception):
    """A problem that the user can cure: what, which value, where; then a hint; both without control characters.

    Args:
        message: one sentence that names the thing, its value and where it is.
        hint: the cure, if we know it; shown on a line of its own.

    Attributes:
        is_told: another process of the run has shown it to the user already.
    """

    exit_code = 70
    is_told = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = without_controls(message)
        self.hint = None if hint is None else without_controls(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip from a loader process, keyword arguments included."""
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[OnelookError], message: str, hint: str | None) -> OnelookError:
    return kind(message, hint=hint)


class UsageError(OnelookError):
    """The command line cannot be understood: an unknown command or option, or a missing argument."""

    exit_code = 2


class SettingsError(OnelookError):
    """A setting is unknown, has an impossible value, or contradicts another one."""

    exit_code = 64


class DataError(OnelookError):
    """A dataset file, an image or a label cannot be used."""

    exit_code = 65


class ModelError(OnelookError):
    """A model definition or a set of weights does not fit."""

    exit_code = 64


class CheckpointError(OnelookError):
    """A checkpoint is damaged, foreign, or of another format version."""

    exit_code = 3


class RunFolderError(OnelookError):
    """A run folder cannot be created, locked or written."""

    exit_code = 73


class DeviceError(OnelookError):
    """The device that was asked for is absent."""

    exit_code = 69


class NumericsError(OnelookError):
    """Training produced numbers that are not finite."""

    exit_code = 66


class MemoryShortage(OnelookError):  # noqa: N818 - the field calls it that
    """There is not enough memory, even for a single image at a time."""

    exit_code = 71


class ProcessGroupError(OnelookError):
    """Another process of a run in many processes has died, hangs, or cannot be reached."""

    exit_code = 70


class StopRequested(OnelookError):  # noqa: N818 - not a failure: a signal was obeyed
    """A signal asked the run to stop; what was done is saved and can be resumed."""

    exit_code = 75


def combined(kind: type[OnelookError], title: str, problems: Sequence[str], *, hint: str | None = None) -> OnelookError:
    """One error of `kind` that lists several `problems` under a `title`, at most 20 of them written out."""
    shown = [f"  - {problem}" for problem in problems[:20]]
    if len(problems) > len(shown):
        shown.append(f"  ... and {len(problems) - len(shown)} more")
    return kind("\n".join([title, *shown]), hint=hint)


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
        subject = f"`{os.fsdecode(problem.filename)}`: " if isinstance(problem.filename, (str, bytes)) else ""
        text = f"{subject}{problem.strerror or problem}"
        return Explanation(error=text, hint=_HINTS.get(problem.errno or 0), exit_code=EXIT_IO)
    return Explanation(
        error=f"this is a bug in Onelook, not your fault: {named(problem)}",
        hint=f"please report it with the traceback that `{DEBUG_VARIABLE}=1` before the command shows",
        exit_code=EXIT_SOFTWARE,
    )


def _is_memory_shortage(problem: BaseException) -> bool:
    """Whether Python or torch ran out of memory; torch has its own exception for GPUs, and a message for CPUs."""
    is_torch = type(problem).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(problem)
    return isinstance(problem, MemoryError) or (isinstance(problem, RuntimeError) and is_torch)


def named(problem: BaseException) -> str:
    """The class of `problem` and what it says, in one line."""
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
