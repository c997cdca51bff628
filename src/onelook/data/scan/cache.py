"""Results of a scan on disk, outside the dataset: plain arrays with a checksum, rebuilt when anything is amiss.

A result is used again if no path, size or time of a file, rule of reading or format version has changed. The time of
the last change of status is among them, so that an edit that keeps the size and sets the date back is noticed, too;
not on Windows, which has no such time.
"""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.errors import DataError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import printable, read_bounded
from onelook.structures.packed_texts import joined_texts

logger = logging.getLogger(__name__)

FORMAT = 7

_MAGIC = b"onelook scan 1\n\0"
_DIGEST_BYTES = hashlib.sha256().digest_size
_MAX_BYTES = 1 << 33


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
