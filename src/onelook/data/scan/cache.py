"""Results of a scan on disk, outside the dataset: plain arrays with a checksum, rebuilt when anything is amiss.

A result is used again if no path, file size, modification time, rule of reading or format version has changed. An
edit that keeps size and time alike goes unnoticed here; asking the scan to verify compares the content itself.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.errors import DataError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import printable, read_bounded
from onelook.structures.packed_texts import joined_texts

logger = logging.getLogger(__name__)

FORMAT = 2
ABSENT, UNREACHABLE = -1, -2

_MAGIC = b"onelook scan 1\n\0"
_DIGEST_BYTES = hashlib.sha256().digest_size
_MAX_BYTES = 1 << 33


def default_cache_folder() -> Path:
    """Where caches go: `$ONELOOK_CACHE`, `$XDG_CACHE_HOME/onelook`, `~/.cache/onelook`, or a private temporary folder.

    The first that exists or can be made, and can be written; the folder is made.

    Raises:
        DataError: none can.
    """
    chosen = os.environ.get("ONELOOK_CACHE")
    if chosen:
        if _is_writable(Path(chosen)):
            return Path(chosen).absolute()
        logger.warning("ONELOOK_CACHE is `%s`, which cannot be written; another folder is used", printable(chosen))
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() fails for users without an entry
    xdg = os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home != "~" else "")
    if xdg and _is_writable(Path(xdg, "onelook")):
        return Path(xdg, "onelook").absolute()
    shared = Path(tempfile.gettempdir(), f"onelook-{_user()}")
    if _is_writable(shared) and shared.stat().st_uid == _user() and not shared.is_symlink():
        return shared
    raise DataError("no cache folder can be written", hint="set ONELOOK_CACHE to a folder of yours")


def file_states(paths: Sequence[str]) -> npt.NDArray[np.int64]:
    """(N, 2) size in bytes and modification time in ns of each file; size ABSENT or UNREACHABLE where there is none."""
    numbers = chain.from_iterable(map(_state, paths))
    return np.fromiter(numbers, np.int64, 2 * len(paths)).reshape(-1, 2)


def cache_key(paths: Sequence[str], states: npt.NDArray[np.int64], *, root: Path, rules: str) -> npt.NDArray[np.uint8]:
    """32 bytes that change whenever a scan of these files might give another result."""
    digest = hashlib.sha256(f"{FORMAT} {np.__version__.split('.')[0]} {rules}\0".encode())
    for block in joined_texts([str(root), *paths]):
        digest.update(block)
    digest.update(states.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def save_scan(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write the arrays of a scan; a folder that cannot be written only costs the next scan its time."""
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type, unused-ignore]
    content = buffer.getbuffer()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, b"".join([_MAGIC, hashlib.sha256(content).digest(), content]))
    except OSError as problem:
        logger.debug("scan cache `%s` was not written: %s", printable(path), problem)


def load_scan(path: Path, key: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]] | None:
    """The arrays that `save_scan` wrote with this `key` among them; None if absent, stale or damaged."""
    try:
        data = read_bounded(path, _MAX_BYTES)
        start = len(_MAGIC) + _DIGEST_BYTES
        content = memoryview(data)[start:]
        if data[:start] != _MAGIC + hashlib.sha256(content).digest():
            logger.debug("scan cache `%s` is damaged", printable(path))
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (DataError, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, SyntaxError) as problem:
        logger.debug("scan cache `%s` is not usable: %s", printable(path), problem)
        return None
    if not np.array_equal(arrays.get("key", np.zeros(0, np.uint8)), key):
        logger.debug("scan cache `%s` is stale", printable(path))
        return None
    return arrays


def _state(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - plain strings: a dataset has many files
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT, 0
    except OSError:
        return UNREACHABLE, 0
    return status.st_size, status.st_mtime_ns


def _is_writable(folder: Path) -> bool:
    """Whether `folder` is there, or was made, and we may write it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
