"""Pipelines that keep the order: threads prepare the next items and finish earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def batches_of(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter.

    >>> list(batches_of("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def one_ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items, each made by a second thread while the one before is in use."""
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="onelook-read") as pool:
        coming = pool.submit(lambda: next(iterator, None))
        while (item := coming.result()) is not None:
            coming = pool.submit(lambda: next(iterator, None))
            yield item


def behind(do: Callable[[T], R], items: Iterable[T], *, waiting: int) -> Generator[R, None, None]:
    """`do` of every item, in order: a second thread does it while the next items are made.

    Whatever ends the items, `do` is done with all that came before.

    Args:
        do: what it raises is raised here.
        waiting: largest number of items that wait for their turn.
    """
    under_way: deque[Future[R]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="onelook-write") as pool:
        for item in items:
            under_way.append(pool.submit(do, item))
            while len(under_way) > waiting or (under_way and under_way[0].done()):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def ahead_in_threads(
    do: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int
) -> Iterator[tuple[T, Future[R]]]:
    """Every item, in order, with what `do` makes of it in one of several threads, up to `ahead` items before its turn.

    Args:
        do: what it raises is raised by the future.
        ahead: largest number of items that are started before their turn.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="onelook-decode")
    try:
        for item in items:
            waiting.append((item, pool.submit(do, item)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)
