"""A process of its own for trials that may take too much memory or leave some behind: thrown away afterwards."""

from __future__ import annotations

import ctypes
import json
import logging
import multiprocessing
import signal
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from onelook.errors import MemoryShortage, OnelookError
from onelook.processes.memory import is_out_of_memory
from onelook.processes.stop_signal import StopSignal
from onelook.training.batch_trial import BatchTrial, Growth, TrialRequest

PR_SET_PDEATHSIG = 1
SECONDS_BETWEEN_LOOKS = 0.1
SURVEY, REHEARSAL = "survey", "rehearse"

Measure = Callable[[str, int], Growth | None]
"""What a batch of a size takes, surveyed or rehearsed; None if it was too much, and then no more can be asked."""


@contextmanager
def trial_process(request: TrialRequest, stop: StopSignal | None = None) -> Iterator[Measure]:
    """A function that measures batches in a process which lives until the end of the context.

    Args:
        request: the run.
        stop: asked while the process works.

    Raises:
        MemoryShortage: the process did not even begin.
        StopRequested: `stop` was set.
        OnelookError: a trial failed for another reason than memory; raised by the function, too.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, request), daemon=True)
    with _without_main_module():
        process.start()
    theirs.close()

    def measure(kind: str, batch_size: int) -> Growth | None:
        try:
            ours.send_bytes(json.dumps([kind, batch_size]).encode())
            return _understood(_received(ours, stop))
        except (EOFError, OSError):  # killed, or it fell over where memory can run out without an exception
            return None

    try:
        _check_beginning(ours, stop)
        yield measure
    finally:
        ours.close()
        process.kill()
        process.join()


def _check_beginning(answers: Connection, stop: StopSignal | None) -> None:
    try:
        _received(answers, stop)
    except (EOFError, OSError) as problem:
        raise MemoryShortage(
            "setting `batch_size` is -1, but the process that tries batches ended before it had loaded the library",
            hint="if memory is not what it lacked, give `--batch-size` a number",
        ) from problem


def _received(answers: Connection, stop: StopSignal | None) -> dict[str, Any]:
    while not answers.poll(SECONDS_BETWEEN_LOOKS):
        if stop is not None:
            stop.check()
    answer: dict[str, Any] = json.loads(answers.recv_bytes())
    return answer


def _understood(answer: dict[str, Any]) -> Growth | None:
    if "problem" in answer:
        raise OnelookError(f"the trial of batch sizes failed: {answer['problem']}", hint="give `--batch-size`")
    growth: Growth | None = answer["growth"]
    return growth


def _serve(questions: Connection, request: TrialRequest) -> None:
    """Say that this process has begun, and answer questions until there are no more."""
    _prepare_process(request.num_threads)
    questions.send_bytes(b"{}")
    trial: BatchTrial | None = None
    while True:
        try:
            kind, batch_size = json.loads(questions.recv_bytes())
        except (EOFError, OSError):
            return
        answer: dict[str, Any] = {}
        try:
            trial = trial or BatchTrial(request)
            answer["growth"] = trial.survey(batch_size) if kind == SURVEY else trial.rehearse(batch_size)
        except Exception as problem:  # noqa: BLE001 - told to the process that asked
            is_shortage = is_out_of_memory(problem) or isinstance(problem, MemoryShortage)
            answer |= {"growth": None} if is_shortage else {"problem": str(problem) or repr(problem)}
        questions.send_bytes(json.dumps(answer).encode())


def _prepare_process(num_threads: int) -> None:
    """Silent, never outlives its parent, leaves Ctrl-C to it, and is the first to go when memory runs out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()
    warnings.simplefilter("ignore")
    torch.set_num_threads(num_threads)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError), Path("/proc/self/oom_score_adj").open("r+", encoding="ascii") as file:
            file.write("1000")


@contextmanager
def _without_main_module() -> Iterator[None]:
    """A new process imports the program that started it: a script without a guard would start all over again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
