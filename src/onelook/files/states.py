"""Sizes and modification times of many files: what tells that a file has changed without reading it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

ABSENT, UNREACHABLE = -1, -2


def file_states(paths: Sequence[str]) -> npt.NDArray[np.int64]:
    """(N, 2) size in bytes and modification time in ns of each file; size ABSENT or UNREACHABLE where there is none."""
    numbers = chain.from_iterable(map(_state, paths))
    return np.fromiter(numbers, np.int64, 2 * len(paths)).reshape(-1, 2)


def _state(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - plain strings: a dataset has many files
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT, 0
    except OSError:
        return UNREACHABLE, 0
    return status.st_size, status.st_mtime_ns
