"""A file that one process at a time can lock; the lock ends with its process, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onelook.errors import DataError

if TYPE_CHECKING:
    from filelock import BaseFileLock


def locked(path: Path) -> BaseFileLock:
    """The lock of a file, which is made if it is not there; released with `.release()`.

    Raises:
        TimeoutError: another process has it.
        OSError: there can be no lock.
    """
    from filelock import FileLock

    lock = FileLock(path)
    lock.acquire(timeout=0)
    return lock


@contextmanager
def claimed(path: Path, doing: str) -> Iterator[None]:
    """Keep other downloads away meanwhile by the lock of `path`; DataError says what another is `doing`."""
    try:
        lock = locked(path)
    except TimeoutError as problem:
        raise DataError(f"another download is {doing}", hint="wait for it, or stop it") from problem
    try:
        yield
    finally:
        lock.release()
