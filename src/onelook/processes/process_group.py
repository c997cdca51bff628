"""Many processes as one: who this process is, and what the processes of a run tell each other: tensors and JSON only.

The only place that knows `torch.distributed`. A run in one process is a group of size 1, in which every exchange gives
back what was put in.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from onelook.errors import OnelookError, ProcessGroupError, SettingsError, StopRequested
from onelook.processes.failure_store import FailureStore, described, rebuilt
from onelook.processes.heartbeat import Heartbeat
from onelook.processes.launch_env import is_launched, restarts_so_far, stop_with_launcher
from onelook.processes.stop_signal import StopSignal
from onelook.runs.checkpoint import Checkpoint

T = TypeVar("T")
logger = logging.getLogger(__name__)

# A hung process is found by its missing heartbeat, and waiting for a long scan is no fault: no exchange times out.
NO_TIMEOUT = timedelta(days=7)
KEY_COMING = "onelook/coming"
SECONDS_TO_COME = 900.0
KEY_LEAVING = "onelook/leaving"
SECONDS_TO_LEAVE = 30.0


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: number of this process, from 0; process 0 writes files and speaks to the user.
        local_rank: number of this process on its machine.
        heartbeat: what the others see of this process; None in a group of one.
        store: where the processes leave notes for each other; None in a group of one.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    heartbeat: Heartbeat | None = None
    store: Any = field(default=None, repr=False)

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and speaks to the user."""
        return self.rank == 0

    def set_patience(self, seconds: float) -> None:
        """How long a process may stand still before it counts as hung."""
        if self.heartbeat is not None:
            self.heartbeat.set_patience(seconds)

    def beat(self, activity: str) -> None:
        """Tell the others that this process moves, and where it is; call it at least once per batch."""
        if self.heartbeat is not None:
            self.heartbeat.beat(activity)

    def resting(self) -> AbstractContextManager[None]:
        """A context in which this process may stand still for any time without counting as hung."""
        return self.heartbeat.resting() if self.heartbeat is not None else nullcontext()

    def rest(self) -> None:
        """Tell the others that no beat is to be expected until the next one."""
        if self.heartbeat is not None:
            self.heartbeat.rest()

    def add_up(self, tensor: Tensor) -> Callable[[], None]:
        """Begin to replace `tensor`, in place, by its sum over all processes; returns what waits for that."""
        if self.world_size == 1:
            return lambda: None
        with self.waiting():
            handle = dist.all_reduce(tensor, async_op=True)

        def wait() -> None:
            with self.waiting():
                handle.wait()

        return wait

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The `tensor` of every process, all of one shape, in the order of their ranks."""
        if self.world_size == 1:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.world_size)]
        with self.waiting():
            dist.all_gather(gathered, tensor)
        return gathered

    def gather_rows(self, rows: Tensor) -> list[Tensor]:
        """The `rows` of every process, whose numbers may differ, in the order of their ranks."""
        counts = [int(count) for count in self.gather(torch.tensor(len(rows)))]
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        return [found[:count] for found, count in zip(self.gather(padded), counts, strict=True)]

    def gather_values(self, value: Any) -> list[Any]:
        """The `value` of every process, plain JSON, in the order of their ranks."""
        if self.world_size == 1:
            return [value]
        return [json.loads(text.numpy().tobytes()) for text in self.gather_rows(_text(value))]

    def share(self, value: T) -> T:
        """The `value` of process 0, plain JSON; what the others give is not used."""
        if self.world_size == 1:
            return value
        text = _text(value) if self.is_first else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor(len(text))
        self.copy_from_first([length])
        text = text if self.is_first else torch.empty(int(length), dtype=torch.uint8)
        self.copy_from_first([text])
        return json.loads(text.numpy().tobytes())  # type: ignore[no-any-return]

    def share_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The named `tensors` of process 0, on the CPU; what the others give is not used."""
        if self.world_size == 1:
            return dict(tensors)
        described = self.share([(name, list(t.shape), str(t.dtype).split(".")[1]) for name, t in tensors.items()])
        shared = {
            name: tensors[name].detach().cpu().contiguous()
            if self.is_first
            else torch.empty(shape, dtype=getattr(torch, dtype))
            for name, shape, dtype in described
        }
        self.copy_from_first(list(shared.values()))
        return shared

    def share_checkpoint(self, read: Callable[[], Checkpoint]) -> Checkpoint:
        """What `read` gives in process 0.

        Raises:
            OnelookError: what `read` raised.
        """
        found: list[Checkpoint] = []

        def document() -> dict[str, Any]:
            found.append(read())
            return found[0].document

        shared = self.first(document)
        return Checkpoint(self.share_tensors(found[0].tensors if found else {}), shared)

    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite `tensors`, in place, by those of process 0."""
        if self.world_size > 1:
            with torch.no_grad(), self.waiting():
                for tensor in tensors:
                    plain = tensor.contiguous()
                    dist.broadcast(plain, 0)
                    tensor.copy_(plain)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process."""
        return self.any_of(flag)[0]

    def any_of(self, *flags: bool) -> list[bool]:
        """Whether each of `flags` is set in any process; in one exchange."""
        if self.world_size == 1:
            return list(flags)
        votes = torch.tensor([int(flag) for flag in flags])
        self.add_up(votes)()
        return [vote > 0 for vote in votes.tolist()]

    def check(self, stop: StopSignal, *, voted: bool | None = None) -> None:
        """Raise in all processes if a stop was asked for in any of them.

        Args:
            voted: what an earlier exchange has said about it, the same in all processes; None asks them now. A process
                alone always asks itself.

        Raises:
            StopRequested: naming the signal.
        """
        is_asked = self.any(stop.requested) if voted is None or self.world_size == 1 else voted
        if is_asked:
            names = [name for name in self.gather_values(stop.name) if name]
            if not stop.requested:
                stop.request(names[0])
            stop.check()

    def first(self, action: Callable[[], T]) -> T:
        """Do something in process 0 only, and give all its result, which is plain JSON, or its exception.

        Raises:
            OnelookError: what `action` raised.
        """
        return self.share(self.together(lambda: action() if self.is_first else None))  # type: ignore[return-value]

    def first_then_others(self, action: Callable[[], T]) -> T:
        """Do something in process 0, and then, if that went well, in the others, which find what it left behind.

        Raises:
            OnelookError: what `action` raised, here or in process 0.
        """
        found: list[T] = []
        self.first(lambda: found.append(action()))
        return self.together(lambda: found[0] if found else action())

    def together(self, action: Callable[[], T]) -> T:
        """Do something in every process; if it fails in one, all raise what that one did.

        Raises:
            OnelookError: what `action` raised, here or, if it went well here, in the first process where it did not.
        """
        if self.world_size == 1:
            return action()
        found: list[T] = []
        problem: OnelookError | None = None
        try:
            found.append(action())
        except OnelookError as raised:
            problem = raised
        descriptions = self.gather_values(None if problem is None else described(problem))
        if problem is not None:
            raise problem
        for description in descriptions:
            if description is not None:
                raise rebuilt(description)
        return found[0]

    def leave_together(self) -> None:
        """Wait, but not for ever, until all processes have come here; launchers end the others when one ends."""
        if self.store is None:
            return
        begun = time.monotonic()
        try:
            self.store.add(KEY_LEAVING, 1)
            while self.store.add(KEY_LEAVING, 0) < self.world_size and time.monotonic() - begun < SECONDS_TO_LEAVE:
                time.sleep(0.01)
        except RuntimeError as problem:
            logger.debug("the store is gone: %s", problem)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While the others are waited for.

        Raises:
            ProcessGroupError: one of them has died.
            OnelookError: the reason that one of them has given before it ended.
        """
        assert self.heartbeat is not None
        try:
            with self.heartbeat.resting():
                yield
        except RuntimeError as problem:
            raise self._blame(problem) from problem

    def give_reason(self, problem: OnelookError) -> bool:
        """Tell the others why this process ends; whether it is the first to give a reason."""
        return self.store is None or FailureStore(self.rank, self.store).give(problem)

    def _blame(self, problem: RuntimeError) -> OnelookError:
        """Why an exchange failed: what another process said before it ended, or that it said nothing."""
        return FailureStore(self.rank, self.store).given() or ProcessGroupError(
            f"process {self.rank} lost contact with another process of the run: {_first_sentence(problem)}",
            hint="it may have been killed, or have run out of memory; `--resume` continues from the last checkpoint",
        )


@contextmanager
def joined_group(stop: StopSignal | None = None) -> Iterator[ProcessGroup]:
    """This process among those that its launcher started; a group of one without a launcher.

    The launcher says who is who in the environment: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.

    Args:
        stop: checked until all processes have joined.

    Raises:
        SettingsError: one of these variables is missing.
        ProcessGroupError: the others cannot be reached.
    """
    if not is_launched():
        yield ProcessGroup()
        return
    stop_with_launcher()
    missing = [name for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise SettingsError(
            f"RANK and WORLD_SIZE are set, but not {', '.join(missing)}: this looks like half of a launcher's work",
            hint="start with `torchrun`, or unset RANK and WORLD_SIZE",
        )
    try:
        store, rank, size = next(rendezvous("env://", timeout=timedelta(seconds=SECONDS_TO_COME)))
        # The launcher may keep one store over all restarts: old addresses in it would lead nowhere.
        store = PrefixStore(f"attempt{restarts_so_far()}", store)
        _wait_for_all(store, rank, size, stop)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=NO_TIMEOUT)
    except (RuntimeError, ValueError) as problem:
        reason = _first_sentence(problem)
        raise ProcessGroupError(f"the processes of the run cannot find each other: {reason}") from problem
    heartbeat = Heartbeat(store, rank, size)
    group = ProcessGroup(rank, size, int(os.environ["LOCAL_RANK"]), heartbeat, store)
    try:
        yield group
    finally:
        heartbeat.end()
        dist.destroy_process_group()


def _wait_for_all(store: Any, rank: int, size: int, stop: StopSignal | None) -> None:
    """Return when all processes have come, so that they meet in a moment: signals are not heard in it."""
    begun = time.monotonic()
    here = store.add(KEY_COMING, 1)
    while here < size:
        if stop is not None and stop.requested:
            asked = StopRequested(f"stopped on request of {stop.name}")
            asked.is_told = rank > 0  # one of several speaks
            raise asked
        if time.monotonic() - begun > SECONDS_TO_COME:
            raise ProcessGroupError(
                f"only {here} of the {size} processes of the run have come within {SECONDS_TO_COME / 60:g} minutes",
                hint="start all of them, with one address and one number of processes",
            )
        time.sleep(0.02)
        here = store.add(KEY_COMING, 0)


@contextmanager
def reasons_given(group: ProcessGroup) -> Iterator[None]:
    """Tell the other processes why this one ends; of several that end for the same reason, one speaks to the user."""
    try:
        yield
    except OnelookError as problem:
        if not problem.is_told:
            problem.is_told = not group.give_reason(problem)
        if isinstance(problem, StopRequested):
            group.leave_together()
        raise
    except Exception as problem:
        if group.world_size > 1:
            name = type(problem).__name__
            group.give_reason(ProcessGroupError(f"process {group.rank} failed with {name}: {problem}"))
        raise


def _first_sentence(problem: Exception) -> str:
    return str(problem).partition("\n")[0].partition(". ")[0].strip()


def _text(value: Any) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value).encode("utf-8")), dtype=torch.uint8)
