"""Forked processes: they inherit the memory of this one and start in milliseconds."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import cv2

from onelook.data.worker_signals import end_with_parent, signals_held_back

_inherited: Callable[[range], Any]


@contextmanager
def forked_pool(do: Callable[[range], Any], workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that inherit `do` and all that it refers to; submit `do_inherited` to it.

    Args:
        do: the work; only its arguments and results go through a pipe.
    """
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(workers, context, initializer=_inherit, initargs=(do,))
    with pool:
        with without_opencv_threads(), signals_held_back("fork"):
            pool.submit(os.getpid).result()  # which starts all of them
        yield pool


@contextmanager
def without_opencv_threads() -> Iterator[None]:
    """No threads of OpenCV's own while workers are forked: a child has their locks without the threads, and hangs."""
    num_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(num_threads)


def do_inherited(numbers: range) -> Any:
    """In a process of the pool: what it was made for."""
    return _inherited(numbers)


def _inherit(do: Callable[[range], Any]) -> None:
    global _inherited
    end_with_parent()
    cv2.setNumThreads(1)
    _inherited = do
