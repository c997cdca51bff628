"""The one way we write files: whole or not at all, whatever happens to the process or the power."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onelook.files.running import is_running

TEMPORARY_MARK = ".onelook-tmp-"
LONGEST_NAME = 200
"""Bytes of a name that still has room for the mark: most file systems allow 255."""
# Said by network file systems that cannot flush a folder, and where it may be written but not read.
CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EACCES}


def write_bytes_atomic(
    path: Path, data: bytes | bytearray | memoryview, *, check: Callable[[Path], None] | None = None
) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    The bytes go to a temporary file beside `path`, are flushed to the disk, read back by `check` if one is given,
    and renamed over `path`; then the folder is flushed too.

    Raises:
        OSError: the disk is full, read-only or failing; the old file is untouched and the temporary one removed. Its
            `filename` is `path`.
    """
    temporary = temporary_of(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(temporary)
        temporary.replace(path)
        flush_folder(path.parent)
    except BaseException as problem:
        temporary.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            problem.filename = os.fspath(path)  # most calls above know a number only
        raise


def temporary_of(path: Path) -> Path:
    """The temporary file beside `path`; names have a limit, which a long one with a mark behind it would pass."""
    name = os.fsencode(path.name)
    stem = path.name if len(name) <= LONGEST_NAME else hashlib.sha256(name).hexdigest()
    return path.with_name(f"{stem}{TEMPORARY_MARK}{os.getpid()}")


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` as `write_bytes_atomic` does."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, content: object) -> None:
    """Write plain values as JSON, numbers that are not finite as null, as `write_bytes_atomic` does."""
    from onelook.files.json_values import plain  # and pydantic, which processes that only decode images do without

    write_text_atomic(path, json.dumps(plain(content), indent=1) + "\n")


def write_new(path: Path, content: bytes) -> None:
    """Write a new file, and its folders, where nobody reads before all is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, called `path`, which must be free, at the end; without that end nothing of it is left."""
    unfinished = path.with_name(f".{path.name}{TEMPORARY_MARK}{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.rename(path)
        flush_folder(path.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def flush_folder(folder: Path) -> None:
    """Make renames within `folder` last through a power cut, where the system can."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as problem:
        if problem.errno not in CANNOT_FLUSH:
            raise


def remove_orphans(folder: Path) -> int:
    """Delete temporary files that killed processes left in `folder`; how many there were."""
    orphans = [path for path in folder.iterdir() if TEMPORARY_MARK in path.name and not _is_alive(path)]
    for path in orphans:
        path.unlink(missing_ok=True)
    return len(orphans)


def _is_alive(temporary: Path) -> bool:
    pid_text = temporary.name.rpartition(TEMPORARY_MARK)[2]
    return pid_text.isdigit() and int(pid_text) != os.getpid() and is_running(int(pid_text))
