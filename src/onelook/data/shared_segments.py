"""Shared memory that loader processes write batches into, again and again: fresh memory costs a fault for each page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.multiprocessing import get_sharing_strategy
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.data import get_worker_info

SLOTS = 4  # of a worker: two batches ahead and the one in use, and if it is the only one, the one before that too
ROOM = 1.1  # where batches differ in size


@dataclass
class Loan:
    """A batch on its way to the training process.

    Attributes:
        batch: its memory is lent as long as its tensor `pixels` lives; None once it was taken out.
        worker, slot: which segment that is.
        storage: that of a batch that was copied since.
    """

    batch: Any
    worker: int
    slot: int
    storage: StorageWeakRef | None = None

    def pin_memory(self) -> Loan:
        """The batch in page-locked memory; called by torch's loader."""
        return Loan(self.batch.pin_memory(), self.worker, self.slot, _storage_of(self.batch))


class Segments:
    """The memory of all workers of a loader; each has its own segments, and the training process gives them back.

    A worker without a free one takes fresh memory, so batches can be kept for as long as one likes.
    """

    def __init__(self, workers: int) -> None:
        self._is_lent = torch.zeros((workers, SLOTS), dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        self._kept: dict[int, torch.UntypedStorage] = {}  # in a worker
        self._taken: int | None = None
        self._lent: list[tuple[StorageWeakRef, int, int]] = []  # in the training process

    def take(self, num_bytes: int) -> torch.UntypedStorage:
        """In a worker: memory for the batch that is made now."""
        lent = self._is_lent[_worker()].tolist()
        free = [slot for slot in range(SLOTS) if not lent[slot]]
        # Elsewhere than on Linux memory is shared by names, which count their users: sending it twice is not foreseen.
        if not free or get_sharing_strategy() != "file_descriptor":  # type: ignore[no-untyped-call]
            self._taken = None
            return _fresh(num_bytes)
        sizes = {slot: self._kept[slot].nbytes() if slot in self._kept else 0 for slot in free}
        self._taken = max(free, key=lambda slot: sizes[slot])
        if sizes[self._taken] < num_bytes:
            self._kept[self._taken] = _fresh(round(num_bytes * (ROOM if sizes[self._taken] else 1)))
        return self._kept[self._taken]

    def lend(self, batch: Any) -> Any:
        """In a worker: what to send of a batch that has been made."""
        slot, self._taken = self._taken, None
        if slot is None:
            return batch
        self._is_lent[_worker(), slot] = 1
        return Loan(batch, _worker(), slot)

    def batches(self, loans: Iterator[Any]) -> Iterator[Any]:
        """In the training process: the batches that arrive; segments are given back as soon as nothing uses them."""
        while True:
            self._reclaim_slots()
            try:
                loan = next(loans)
            except StopIteration:
                return
            if not isinstance(loan, Loan):
                yield loan
                continue
            self._lent.append((loan.storage or _storage_of(loan.batch), loan.worker, loan.slot))
            batch, loan.batch = loan.batch, None
            yield batch
            del batch

    def _reclaim_slots(self) -> None:
        over = [lent for lent in self._lent if lent[0].expired()]  # type: ignore[no-untyped-call]
        for _, worker, slot in over:
            self._is_lent[worker, slot] = 0
        self._lent = [lent for lent in self._lent if lent not in over]


def _fresh(num_bytes: int) -> torch.UntypedStorage:
    return torch.UntypedStorage._new_shared(num_bytes)  # type: ignore[no-any-return, no-untyped-call]


def _storage_of(batch: Any) -> StorageWeakRef:
    return StorageWeakRef(batch.pixels.untyped_storage())  # type: ignore[no-untyped-call]


def _worker() -> int:
    info = get_worker_info()
    assert info is not None
    return info.id
