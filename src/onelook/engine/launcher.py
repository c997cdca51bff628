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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, PContext, SignalException, start_processes

from onelook.engine.process import LAUNCHED_BY_US
from onelook.engine.stop_signal import SIGNALS

SECONDS_TO_SAVE = 60
HOST = "127.0.0.1"
_NAMES_OF_SIGNALS = ",".join(signal.Signals(number).name for number in SIGNALS)


@dataclass(frozen=True)
class LaunchEnd:
    """How the processes of one attempt ended.

    Attributes:
        failures: exit code by rank, negative for a signal; of those that had failed when the first failure was seen.
        signal_name: of the signal that this process got and passed on; empty if there was none.
    """

    failures: dict[int, int]
    signal_name: str = ""


def run_processes(arguments: Sequence[str], count: int, *, launch: str, attempt: int) -> LaunchEnd:
    """Run `python -m onelook` with `arguments` in `count` processes until all are done, one fails, or a signal comes.

    Args:
        arguments: of the command line.
        count: processes.
        launch: what the processes of all attempts have in common.
        attempt: 0, and one more for every time that they were started anew.
    """
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    with tempfile.TemporaryDirectory(prefix="onelook-") as folder, _quiet_launcher(), _signals_as_before():
        processes = start_processes(
            "onelook",
            sys.executable,
            args=dict.fromkeys(range(count), ("-m", "onelook", *arguments)),
            envs={rank: _environment(rank, count, store.port, launch, attempt) for rank in range(count)},
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        return _watched(processes)


def _watched(processes: PContext) -> LaunchEnd:
    try:
        result = processes.wait(period=0.1)
    except SignalException as stop:
        _pass_on(processes, stop.sigval)
        return LaunchEnd({}, signal.Signals(stop.sigval).name)
    failures = result.failures if result is not None else {}
    processes.close(timeout=SECONDS_TO_SAVE)
    return LaunchEnd({rank: failure.exitcode for rank, failure in failures.items()})


def _pass_on(processes: PContext, number: signal.Signals) -> None:
    """Hand a signal to all processes and give them time to save; a second one ends everything at once."""
    try:
        processes.close(number, timeout=SECONDS_TO_SAVE)
    except SignalException as second:
        for pid in processes.pids().values():
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                continue
        os._exit(128 + second.sigval)


def _environment(rank: int, count: int, port: int, launch: str, attempt: int) -> dict[str, str]:
    """What a process needs to know to find the others."""
    threads = max(1, (os.cpu_count() or 1) // count)
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else ""),
        LAUNCHED_BY_US: "1",
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": launch,
        "TORCHELASTIC_RESTART_COUNT": str(attempt),
        "TORCHELASTIC_SIGNALS_TO_HANDLE": _NAMES_OF_SIGNALS,
    }


@contextmanager
def _signals_as_before() -> Iterator[None]:
    """Let the launcher handle the signals that stop a run, and hand them back when it is done."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    key = "TORCHELASTIC_SIGNALS_TO_HANDLE"
    given = os.environ.get(key)
    os.environ[key] = _NAMES_OF_SIGNALS
    try:
        yield
    finally:
        if given is None:
            del os.environ[key]
        else:
            os.environ[key] = given
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _quiet_launcher() -> Iterator[None]:
    """Without the launcher's own messages about processes that have spoken for themselves."""
    talker = logging.getLogger("torch.distributed.elastic")
    level = talker.level
    talker.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        talker.setLevel(level)
