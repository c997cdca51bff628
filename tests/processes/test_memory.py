"""Limits and readings of memory, and problems that mean there was too little."""

from __future__ import annotations

import errno
import multiprocessing
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from onelook.errors import DataError, SettingsError
from onelook.processes.memory import is_out_of_memory, memory_limits, memory_use

MIB = 2**20
GIB = 2**30
FOREIGN_TEXTS = [
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 14.56 GiB",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of memory (MPS allocated: 5.00 GB, other allocations: 1 GB, max allowed: 6 GB)",
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate",
    "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
    "could not create a primitive",
    "std::bad_alloc",
]


@pytest.mark.parametrize("text", FOREIGN_TEXTS)
def test_texts_of_the_libraries_are_recognised(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize(
    "problem",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x3 and 4x3)"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("expected scalar type Float but found Half"),
        ValueError("need at least one array to concatenate"),
        OSError(errno.ENOSPC, "No space left on device"),
        SettingsError("setting `imgsz` is 7"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_problems_are_not_taken_for_it(problem: BaseException) -> None:
    assert not is_out_of_memory(problem)


def test_an_error_raised_from_it_counts_as_well() -> None:
    problem = DataError("image `a.png` cannot be read")
    problem.__cause__ = MemoryError()
    assert is_out_of_memory(problem)
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA: 2 GiB"))


def _tensor() -> Tensor:
    return torch.empty(GIB)


def _array() -> Any:
    return np.empty(GIB)


def _buffer() -> bytearray:
    return bytearray(4 * GIB)


def _image() -> Any:
    return cv2.resize(np.ones((100, 100, 3), np.uint8), (30_000, 30_000))


ALLOCATIONS: list[Callable[[], Any]] = [_tensor, _array, _buffer, _image]


def _allocate_everything(answers: Connection, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for allocate in ALLOCATIONS:
        try:
            allocate()
        except Exception as problem:  # noqa: BLE001 - whatever a library raises is the subject of the test
            answers.send_bytes(f"{is_out_of_memory(problem)} {problem!r}".encode())


def test_what_libraries_raise_under_a_real_limit_is_recognised() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_allocate_everything, args=(theirs, 2 * GIB))
    process.start()
    theirs.close()
    answers = [ours.recv_bytes().decode() for _ in ALLOCATIONS]
    process.join()
    assert all(answer.startswith("True") for answer in answers), answers


STATUS = "Name:\tpython\nVmPeak:\t 3000 kB\nVmSize:\t 2000 kB\nVmHWM:\t 900 kB\nVmRSS:\t 800 kB\nVmData:\t 500 kB\n"
MEMINFO = "MemTotal: 9000 kB\nMemAvailable: 5000 kB\n"
GROUPS = {
    "proc/self/cgroup": "0::/mine\n",
    "cgroup/mine/memory.max": f"{3000 * 1024}\n",
    "cgroup/mine/memory.current": f"{1000 * 1024}\n",
}
FREE = "share of the free memory"


@pytest.mark.parametrize(
    ("files", "processes", "expected"),
    [
        ({}, 1, []),
        ({"proc/meminfo": MEMINFO}, 1, []),
        ({"proc/self/status": STATUS}, 1, []),
        ({"proc/self/status": STATUS, "proc/meminfo": MEMINFO}, 1, [(FREE, "resident", 800, 5800)]),
        ({"proc/self/status": STATUS, "proc/meminfo": MEMINFO}, 4, [(FREE, "resident", 800, 2050)]),
        ({"proc/self/status": STATUS, "proc/meminfo": MEMINFO, **GROUPS}, 1, [(FREE, "resident", 800, 2800)]),
    ],
)
def test_limits_are_those_of_machine_and_container(
    files: dict[str, str], processes: int, expected: list[tuple[str, str, int, int]], tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    limits = memory_limits(processes=processes, proc=tmp_path / "proc", control_groups=tmp_path / "cgroup")
    assert [(limit.name, limit.kind, limit.used // 1024, limit.limit // 1024) for limit in limits] == expected


def test_what_this_process_uses_follows_what_it_does() -> None:
    before = memory_use()
    assert before is not None
    assert 0 < before.data < before.address_space <= before.peak_address_space
    block = bytearray(200 * MIB)
    used = memory_use()
    assert used is not None
    for name in ("address_space", "data", "resident"):
        assert abs(getattr(used, name) - getattr(before, name) - len(block)) < 20 * MIB, name
    del block
    after = memory_use()
    assert after is not None
    assert after.peak_resident > used.resident - MIB > after.resident  # the system counts in batches of pages
    assert after.peak_address_space >= used.address_space > after.address_space


def test_limits_of_the_shell_are_seen() -> None:
    wanted = {resource.RLIMIT_AS: 64 * GIB, resource.RLIMIT_DATA: 32 * GIB}
    before = {number: resource.getrlimit(number) for number in wanted}
    for number, limit in wanted.items():
        resource.setrlimit(number, (limit, before[number][1]))
    try:
        found = {limit.kind: (limit.name, limit.limit) for limit in memory_limits()}
    finally:
        for number, limits in before.items():
            resource.setrlimit(number, limits)
    assert found["address_space"] == ("address space (`ulimit -v`)", 64 * GIB)
    assert found["data"] == ("data (`ulimit -d`)", 32 * GIB)
