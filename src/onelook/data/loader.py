"""Batches made by loader processes that train as one stream, whatever their number; they end with their parent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from onelook.data.capacity import available_processors
from onelook.data.dataset import ValidationDataset
from onelook.data.forked import without_opencv_threads
from onelook.data.sampler import EpochOrder, fixed_order
from onelook.data.shared_segments import Segments
from onelook.data.unreadable_images import within_limit
from onelook.data.worker_signals import end_with_parent, signals_held_back, start_method_of_workers
from onelook.errors import OnelookError
from onelook.structures.batch import Batch

Batches = Generator[Batch, None, None]


def train_loader(
    dataset: Items, order: EpochOrder, *, workers: int, pin_memory: bool = False, start_method: str | None = None
) -> Batches:
    """All batches of a run in `order`, from one set of processes that lives as long as the run.

    The same batches, bit by bit, for any number of workers. Closing the generator ends the workers.

    Args:
        workers: processes; 0 loads in this one. See `choose_workers`.
        pin_memory: put batches into page-locked memory, for a GPU.
        start_method: fork, spawn or forkserver; None takes `start_method_of_workers`.

    Raises:
        OnelookError: what went wrong in a worker, as if it had happened here.
    """
    # Drawing images needs the last validation's results: no image of an epoch may be loaded before the epoch begins.
    parts: Iterable[Iterable[list[Any]]] = [order] if order.class_ap is None else order.by_epoch()
    batches = _stream(_Batches(dataset, workers), parts, workers, pin_memory, start_method)
    return within_limit(batches, num_images=len(dataset))


def validation_loader(
    dataset: ValidationDataset, *, workers: int, pin_memory: bool = False, rank: int = 0, world_size: int = 1
) -> Batches:
    """The batches of one validation that process `rank` of `world_size` measures; otherwise as `train_loader`."""
    order = fixed_order(dataset.rectangles, rank=rank, world_size=world_size)
    return _stream(_Batches(dataset, workers), [order], workers, pin_memory)


def choose_workers(
    requested: int, batch_size: int, *, device_type: str, world_size: int = 1, processes_here: int | None = None
) -> int:
    """How many loader processes are worth starting: at most `requested`, and no more than processors to spare.

    Beside a GPU, one processor is left to the training process. On the CPU, training itself uses all processors, and
    one worker fills the gaps between its parallel parts.

    Args:
        requested: the user's limit for each training process.
        batch_size: images per batch, in all training processes together.
        world_size: training processes.
        processes_here: number of them that share the processors of this machine; None if all do.
    """
    spare = 1 if device_type == "cpu" else max(1, available_processors() // (processes_here or world_size) - 1)
    own_images = -(-batch_size // world_size)
    return min(requested, spare, own_images if own_images > 1 else 0)


class Items(Protocol):
    """What batches are made of."""

    def __len__(self) -> int:
        """Images of the dataset."""

    def batch(self, keys: list[Any], /) -> Any:
        """The batch of these keys."""


class _Batches(Dataset[Any]):
    """Whole batches by their keys; an error of ours is handed over as a value, so that it arrives as it was raised."""

    def __init__(self, items: Items, workers: int) -> None:
        self._items = items
        self.segments = Segments(workers)

    def __getitems__(self, keys: list[Any]) -> Any:
        try:
            return self.segments.lend(self._items.batch(keys))
        except OnelookError as problem:
            return problem


class _Part:
    """The batches that the loader should load now."""

    keys: Iterable[list[Any]] = ()

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.keys)


def _stream(
    batches: _Batches,
    parts: Iterable[Iterable[list[Any]]],
    workers: int,
    pin_memory: bool,
    start_method: str | None = None,
) -> Batches:
    """The batches of each part after those of the one before; loading ahead ends with a part, the workers do not."""
    part, method = _Part(), start_method or start_method_of_workers()
    loader = DataLoader(
        batches,
        batch_sampler=part,
        num_workers=workers,
        collate_fn=_unchanged,
        pin_memory=pin_memory,
        worker_init_fn=_prepare_worker,
        multiprocessing_context=method if workers else None,
        generator=torch.Generator(),  # else the loader draws from torch's global one
        persistent_workers=workers > 0,
    )
    iterator: Any = None
    try:
        for part.keys in parts:
            with without_opencv_threads(), _signals_of_children_as_before(), signals_held_back(method):
                iterator = iter(loader)
            for batch in batches.segments.batches(iterator):
                if isinstance(batch, OnelookError):
                    raise batch
                yield batch
    except (RuntimeError, ConnectionError, EOFError) as problem:  # the last two: it was about to hand over memory
        if isinstance(problem, RuntimeError) and "DataLoader worker" not in str(problem):
            raise
        raise OnelookError(
            f"a process that loads images has ended: {problem}",
            hint="it may have run out of memory: use fewer --workers",
        ) from problem.with_traceback(None)  # whose frames would keep the other workers alive
    finally:
        del loader, iterator  # ends the workers


@contextmanager
def _signals_of_children_as_before() -> Iterator[None]:
    """Without torch's handler, which raises wherever the main thread is when a worker dies; `next` notices it too."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGCHLD)
    yield
    if handler is not None:  # None: installed by other than Python
        signal.signal(signal.SIGCHLD, handler)


def _unchanged(batch: Any) -> Any:
    return batch


def _prepare_worker(_worker: int) -> None:
    """Live and die with the parent; one thread."""
    end_with_parent()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
