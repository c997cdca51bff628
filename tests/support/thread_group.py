"""A group whose processes are threads: for functions that only exchange tensors, in thousands of random cases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from onelook.processes.process_group import ProcessGroup

T = TypeVar("T")
SECONDS = 20.0


@dataclass
class _Table:
    """Where the threads of a group put what they exchange."""

    barrier: threading.Barrier
    tensors: list[Any]


@dataclass(frozen=True)
class ThreadGroup(ProcessGroup):
    """One thread among `size`; adds up as two real processes do, and more of them in the reverse order."""

    table: _Table | None = field(default=None, repr=False)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all threads in the order of their ranks."""
        assert self.table is not None
        self.table.tensors[self.rank] = tensor.detach().clone()
        self.table.barrier.wait(SECONDS)
        found = list(self.table.tensors)
        self.table.barrier.wait(SECONDS)
        return found

    def add_up(self, tensor: Tensor) -> Callable[[], None]:
        """Replace `tensor` by the sum over all threads, added from the last one to the first."""
        *rest, total = self.gather(tensor)
        for part in reversed(rest):
            total = total + part
        tensor.detach().copy_(total)
        return lambda: None


def in_threads(size: int, work: Callable[[ProcessGroup], T]) -> list[T]:
    """What `work` gives in each of `size` threads that see each other as a group."""
    table = _Table(threading.Barrier(size), [None] * size)

    def one(rank: int) -> T:
        try:
            return work(ThreadGroup(rank, size, rank, table=table))
        except BaseException:
            table.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        running = [pool.submit(one, rank) for rank in range(size)]
        problems = [future.exception() for future in running]
    for problem in sorted((p for p in problems if p), key=lambda p: isinstance(p, threading.BrokenBarrierError)):
        raise problem
    return [future.result() for future in running]
