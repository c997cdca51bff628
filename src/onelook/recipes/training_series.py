"""What trainings that follow each other in one process need: silence where all would say the same, and memory."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def quiet(level: int) -> Iterator[None]:
    """Silence the library below `level`: the messages of many trainings would bury those of the series."""
    package = logging.getLogger("onelook")
    before = package.level
    package.setLevel(max(level, before))
    try:
        yield
    finally:
        package.setLevel(before)


def free_training_memory() -> None:
    """Give the memory of a training back before the next one asks for its own."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
