"""How much memory there is, how much is in use, and whether a problem means that there was too little."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from onelook.data.capacity import CONTROL_GROUPS, PROC, available_memory

OUT_OF_MEMORY_TEXTS = (
    "out of memory",  # CUDA, HIP, MPS; pinning; the text inside torch.AcceleratorError
    "can't allocate memory",  # torch's CPU allocator on Linux
    "not enough memory",  # the same on Windows
    "alloc_failed",  # cuBLAS, cuDNN, cuSPARSE
    "could not create a primitive",  # oneDNN: torch 2.13 raises just this where its code or scratch memory does not fit
    "could not create a memory",  # oneDNN
    "bad_alloc",  # C++
    "insufficient memory",  # OpenCV
    "unable to allocate",  # NumPy
)


def memory_held() -> int | None:
    """Bytes: reserved on the GPU, or the most that the process ever had in main memory; None if unknown."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return int(torch.cuda.memory_reserved())
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether `problem` says that memory, of the machine or of a device, did not suffice.

    Libraries name this in many ways, most of them plain `RuntimeError`; so their texts are searched too. Errors that
    were raised from such a problem count as well.
    """
    if isinstance(problem, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(problem, OSError):
        return problem.errno == errno.ENOMEM
    if problem.__cause__ is not None and is_out_of_memory(problem.__cause__):
        return True
    text = str(problem).lower()
    return isinstance(problem, Exception) and any(known in text for known in OUT_OF_MEMORY_TEXTS)


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of main memory of this process.

    Attributes:
        address_space: everything mapped, used or not; what `ulimit -v` limits.
        data: the part of it that only this process can write; what `ulimit -d` limits.
        resident: what is really in memory.
        peak_address_space, peak_resident: peaks so far.
    """

    address_space: int
    data: int
    resident: int
    peak_address_space: int
    peak_resident: int


@dataclass(frozen=True)
class MemoryLimit:
    """How far this process may grow.

    Attributes:
        name: what sets the limit, in words.
        kind: what is limited: "address_space", "data", "resident", or "device" for the memory of a GPU.
        used: bytes that this process has of it.
        limit: bytes that it may have.
    """

    name: str
    kind: str
    used: int
    limit: int


def memory_use(*, proc: Path = PROC) -> MemoryUse | None:
    """What this process uses; None where the system does not tell it as Linux does."""
    try:
        lines = (proc / "self" / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    names = ("VmSize", "VmData", "VmRSS", "VmPeak", "VmHWM")
    if not all(name in fields for name in names):
        return None
    return MemoryUse(*(1024 * int(fields[name][0]) for name in names))


def memory_limits(
    *, processes: int = 1, proc: Path = PROC, control_groups: Path = CONTROL_GROUPS
) -> tuple[MemoryLimit, ...]:
    """All limits of main memory for this process; none where the system does not tell them as Linux does.

    Args:
        processes: number of processes on this machine that will grow alike and so share what is free.
    """
    use = memory_use(proc=proc)
    if use is None:
        return ()
    import resource

    limits = []
    for title, kind, used, number in (
        ("address space (`ulimit -v`)", "address_space", use.address_space, resource.RLIMIT_AS),
        ("data (`ulimit -d`)", "data", use.data, resource.RLIMIT_DATA),
    ):
        soft, _ = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY:
            limits.append(MemoryLimit(title, kind, used, soft))
    free = available_memory(proc=proc, control_groups=control_groups)
    if free is not None:
        title = "share of the free memory"
        limits.append(MemoryLimit(title, "resident", use.resident, use.resident + free // processes))
    return tuple(limits)
