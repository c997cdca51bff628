"""Starts the processes of a run on this machine, watches over them, and says how they ended.

Uses the part of torch's launcher that manages processes, with a store of our own for each attempt: a launcher that
keeps its store over a restart hands dead addresses to the new processes.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, PContext, start_processes

from onelook.errors import OnelookError, ProcessGroupError, StopRequested
from onelook.files.running import kill_group
from onelook.processes.launch_env import LAUNCHED_BY
from onelook.processes.stop_signal import StopSignal
from onelook.processes.threads import VARIABLE, threads_for

SECONDS_TO_SAVE = 60
SECONDS_BETWEEN_POLLS = 0.1
HOST = "127.0.0.1"
SIGNALS_OF_TORCH = "TORCHELASTIC_SIGNALS_TO_HANDLE"


@dataclass(frozen=True)
class LaunchEnd:
    """How the processes of one attempt ended.

    Attributes:
        failures: exit code by rank, negative for a signal; of those that had failed when the first failure was seen.
        signal_name: signal that this process got and passed on; empty without one.
    """

    failures: dict[int, int]
    signal_name: str = ""

    def __str__(self) -> str:
        followed = (ProcessGroupError.exit_code, StopRequested.exit_code)  # what others end with once one has failed
        rank, code = min(self.failures.items(), key=lambda item: (item[1] in followed, item))
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"process {rank} {how}"

    def raise_if_final(self) -> None:
        """Raise if restarting is not wanted or of no use.

        Raises:
            StopRequested: a signal came.
            OnelookError: with the exit code that the processes agreed on.
        """
        if self.signal_name:
            stopped = StopRequested(f"stopped on request of {self.signal_name}")
            stopped.is_told = True
            raise stopped
        codes = set(self.failures.values())
        if codes != {StopRequested.exit_code}:
            codes.discard(StopRequested.exit_code)  # of those that were told to end because another one had failed
        # Restarting would end in the same way: the user has to change something first.
        kinds = {kind.exit_code: kind for kind in reversed(OnelookError.__subclasses__())}
        final = sorted(codes & (kinds.keys() - {ProcessGroupError.exit_code}))
        if final:
            problem = kinds[final[0]](f"{self}: see its message above")
            problem.is_told = True
            raise problem


def run_processes(arguments: Sequence[str], count: int, *, launch: str, attempt: int) -> LaunchEnd:
    """Run `python -m onelook` with `arguments` in `count` processes until all are done, one fails, or a signal comes.

    A second signal ends them all, and this process, at once.

    Args:
        launch: what the processes of all attempts have in common.
        attempt: 0, and one more for every time that they were restarted.
    """
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    started: list[PContext] = []
    stop = StopSignal(before_end=lambda: _kill(started))
    with stop, tempfile.TemporaryDirectory(prefix="onelook-") as folder, _quiet_launcher():
        if stop.requested:
            return LaunchEnd({}, stop.name)
        processes = start_processes(
            "onelook",
            sys.executable,
            args=dict.fromkeys(range(count), ("-m", "onelook", *arguments)),
            envs={rank: _environment(rank, count, store.port, launch, attempt) for rank in range(count)},
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        started.append(processes)
        return _watched(processes, stop)


def _kill(started: Sequence[PContext]) -> None:
    for number in (number for processes in started for number in processes.pids().values()):
        with suppress(OSError):  # it has ended
            kill_group(number)


def _watched(processes: PContext, stop: StopSignal) -> LaunchEnd:
    """How the processes end; they get a signal, and have time to save then."""
    result = None
    while result is None and not stop.requested:
        result = processes.wait(timeout=0)
        time.sleep(SECONDS_BETWEEN_POLLS)
    processes.close(signal.Signals[stop.name] if stop.requested else None, timeout=SECONDS_TO_SAVE)
    failures = {} if result is None else {rank: failure.exitcode for rank, failure in result.failures.items()}
    return LaunchEnd(failures, stop.name)


def _environment(rank: int, count: int, port: int, launch: str, attempt: int) -> dict[str, str]:
    """What a process needs to know to find the others."""
    return {
        VARIABLE: os.environ.get(VARIABLE, str(threads_for(count))),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else ""),
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),  # else stack traces when others end
        LAUNCHED_BY: str(os.getpid()),
        "PYTHONSAFEPATH": "1",  # `-m` would look for modules in the current folder first
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": launch,
        "TORCHELASTIC_RESTART_COUNT": str(attempt),
    }


@contextmanager
def _quiet_launcher() -> Iterator[None]:
    """Without signal handlers of torch's launcher, and without its messages: the processes speak for themselves."""
    talker = logging.getLogger("torch.distributed.elastic")
    level = talker.level
    talker.setLevel(logging.CRITICAL)
    given = os.environ.get(SIGNALS_OF_TORCH)
    os.environ[SIGNALS_OF_TORCH] = ""
    try:
        yield
    finally:
        os.environ.pop(SIGNALS_OF_TORCH)
        if given is not None:
            os.environ[SIGNALS_OF_TORCH] = given
        talker.setLevel(level)
