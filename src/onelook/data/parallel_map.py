"""Maps a function over many items, in threads or processes, with results in order, ready to stop."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from onelook.data.forked import do_inherited, forked_pool
from onelook.data.worker_signals import start_method_of_workers
from onelook.errors import OnelookError, StopRequested

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_REPORTS = 10.0
# Things in a chunk: for processes more at most, since what they find goes through a pipe.
_CHUNK, _MOST_IN_CHUNK, _MOST_FOR_PROCESS = 16, 256, 1024
_CHUNKS_AHEAD = 16  # per thread; results that wait for their turn take memory

StopTest = Callable[[], bool]
Progress = Callable[[int, int], None]
Thing = TypeVar("Thing")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Work:
    """How to map over many items.

    Attributes:
        workers: threads, or processes; 0 works in the calling thread.
        stop_requested: checked every few items; True ends the work with StopRequested.
        progress: called with (items done, items in all) every few items.
    """

    workers: int = 0
    stop_requested: StopTest | None = None
    progress: Progress | None = None


def progress_log(what: str) -> Progress:
    """Logs (done, in all or 0 if unknown) as numbers of `what` every ten seconds."""
    said = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > SECONDS_BETWEEN_REPORTS:
            said = time.monotonic()
            logger.info("%s: %s%s", what, f"{done:,}", f" of {total:,}" if total else "")

    return report


def each(do: Callable[[Thing], Result], things: Sequence[Thing], work: Work, *, name: str) -> Iterator[Result]:
    """Apply `do` to every item, results in order; threads take a few items at a time.

    Args:
        do: called in threads; what it raises ends the work.
        name: name of the work, with its article; for the message when it is stopped.
    """
    for chunk in _chunks(lambda numbers: [do(things[n]) for n in numbers], len(things), _CHUNK, work, name=name):
        yield from chunk


def in_chunks(
    do: Callable[[range], Result], count: int, work: Work, *, name: str, use_processes: bool = False
) -> Iterator[Result]:
    """Apply `do` to the numbers below `count` in chunks that grow with `count`; results in order.

    Args:
        do: called with some neighbouring numbers, in threads or processes; what it raises ends the work.
        use_processes: work in processes where they can be forked, not in threads.

    Raises:
        OnelookError: a process was killed.
    """
    use_processes = use_processes and work.workers > 1 and start_method_of_workers() == "fork"
    most = _MOST_FOR_PROCESS if use_processes else _MOST_IN_CHUNK
    size = min(max(count // (8 * max(work.workers, 1)), _CHUNK), most)
    return _chunks(do, count, size, work, name=name, use_processes=use_processes)


def _chunks(
    do: Callable[[range], Result], count: int, size: int, work: Work, *, name: str, use_processes: bool = False
) -> Iterator[Result]:
    chunks = [range(start, min(start + size, count)) for start in range(0, count, size)]
    with forked_pool(do, work.workers) if use_processes else ThreadPoolExecutor(max(work.workers, 1)) as pool:
        try:
            task = do_inherited if use_processes else do
            results = _ahead(task, chunks, pool, work.workers) if work.workers else map(do, chunks)
            for chunk, result in zip(chunks, results, strict=True):
                if work.stop_requested is not None and work.stop_requested():
                    raise StopRequested(f"{name} was stopped", hint="start again; nothing was written")
                yield result
                if work.progress is not None:
                    work.progress(chunk.stop, count)
        except BrokenProcessPool as problem:
            raise OnelookError(
                f"a process of {name} has ended", hint="it may have run out of memory: use fewer --workers"
            ) from problem
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # else leaving the pool waits for all that is left


def _ahead(do: Callable[[range], Result], chunks: Iterable[range], pool: Executor, workers: int) -> Iterator[Result]:
    """The results in order; enough items are started ahead of their turn to keep the threads busy."""
    pending: deque[Future[Result]] = deque()
    for chunk in chunks:
        pending.append(pool.submit(do, chunk))
        if len(pending) >= _CHUNKS_AHEAD * workers:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
