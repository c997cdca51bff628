"""What goes wrong in one process of a run: at a forward pass that is counted, of training or of validation."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from onelook.models.detector import DetectionModel

HOURS = 3600.0


@dataclass(frozen=True)
class At:
    """Does `act` in process `rank`, before its forward pass number `number` (from 1).

    Attributes:
        rank: which process.
        number: of the forward pass; counted over the passes in training, or in evaluation, mode.
        act: a function of this file, or one of its objects.
        training: which mode.
    """

    rank: int
    number: int
    act: Callable[[], None]
    training: bool = True

    def __call__(self, rank: int) -> None:
        if rank != self.rank:
            return
        passes = 0

        def before_forward(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            nonlocal passes
            if isinstance(module, DetectionModel) and module.training == self.training and not given[0].is_meta:
                passes += 1
                if passes == self.number:
                    self.act()

        register_module_forward_pre_hook(before_forward)


@contextmanager
def memory_for(images: int, *, training: bool = False) -> Iterator[list[int]]:
    """Memory that holds so many images at a time; gives how many there were in each pass that was tried.

    Args:
        images: that a pass may have.
        training: whether that is about passes in training, or in evaluation, mode.
    """
    tried: list[int] = []

    def check(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(module, DetectionModel) and module.training == training and not given[0].is_meta:
            tried.append(len(given[0]))
            if len(given[0]) > images:
                run_out_of_memory()

    handle = register_module_forward_pre_hook(check)
    try:
        yield tried
    finally:
        handle.remove()


@dataclass(frozen=True)
class Send:
    """A signal to this process."""

    number: int

    def __call__(self) -> None:
        signal.raise_signal(self.number)


@dataclass(frozen=True)
class Delete:
    """A file is gone."""

    path: Path

    def __call__(self) -> None:
        self.path.unlink()


@dataclass(frozen=True)
class Change:
    """A file has another content."""

    path: Path
    content: str

    def __call__(self) -> None:
        self.path.write_text(self.content)


def get_stuck() -> None:
    """The main thread goes nowhere, and says so."""
    sys.stderr.write("stuck\n")
    time.sleep(HOURS)


def freeze() -> None:
    """All of the process stands still."""
    os.kill(os.getpid(), signal.SIGSTOP)


def die() -> None:
    """The process is gone."""
    os.kill(os.getpid(), signal.SIGKILL)


def run_out_of_memory() -> None:
    """As torch says it."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def run_out_of_memory_on_the_cpu() -> None:
    """As torch says it on a CPU: a plain error with a text."""
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to")
