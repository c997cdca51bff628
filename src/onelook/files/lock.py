"""A file that one process at a time can lock; the lock ends with its process, however that ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
