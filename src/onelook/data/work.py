"""Going through many things once, in threads, in a fixed order, ready to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from onelook.errors import StopRequested

_CHUNK = 16
_CHUNKS_AHEAD = 16  # per thread; results that wait for their turn take memory

StopTest = Callable[[], bool]
Progress = Callable[[int, int], None]
Thing = TypeVar("Thing")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Work:
    """How to go through many things.

    Attributes:
        workers: threads; 0 works in the calling one.
        stop_requested: asked every few things; a yes ends the work with StopRequested.
        progress: told (things done, things in all) every few things.
    """

    workers: int = 0
    stop_requested: StopTest | None = None
    progress: Progress | None = None


def each(do: Callable[[Thing], Result], things: Sequence[Thing], work: Work, *, name: str) -> Iterator[Result]:
    """`do` to everything, results in order; threads take a few things at a time.

    Args:
        do: called in threads; what it raises ends the work.
        things: what is gone through.
        work: threads, stop and progress.
        name: of the work, with its article; for the message when it is stopped.

    Raises:
        StopRequested: `work.stop_requested` said so.
    """

    def do_chunk(start: int) -> list[Result]:
        return [do(thing) for thing in things[start : start + _CHUNK]]

    starts = range(0, len(things), _CHUNK)
    with ThreadPoolExecutor(max(work.workers, 1)) as pool:
        try:
            results = _in_threads(do_chunk, starts, pool, work.workers) if work.workers else map(do_chunk, starts)
            for start, chunk in zip(starts, results, strict=True):
                if work.stop_requested is not None and work.stop_requested():
                    raise StopRequested(f"{name} was stopped", hint="start again; nothing was written")
                yield from chunk
                if work.progress is not None:
                    work.progress(start + len(chunk), len(things))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # else leaving the pool waits for all that is left


def _in_threads(
    do_chunk: Callable[[int], list[Result]], starts: Iterable[int], pool: ThreadPoolExecutor, workers: int
) -> Iterator[list[Result]]:
    """The chunks in order; as many are begun ahead of their turn as keep the threads busy."""
    pending: deque[Future[list[Result]]] = deque()
    for start in starts:
        pending.append(pool.submit(do_chunk, start))
        if len(pending) >= _CHUNKS_AHEAD * workers:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
