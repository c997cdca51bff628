"""The processes of a run as a launcher starts them, but forked from a server that has imported torch: in a moment.

Everything else is real: the store, the process group over the loopback interface, signals, exit codes.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from torch.distributed import TCPStore

HOST = "127.0.0.1"
PRELOADED = ["onelook.cli.main", "onelook.cli.arguments", "onelook.cli.train", "rich.console", "forked_ranks"]
SECONDS = 600.0  # for what takes seconds where nothing else runs
Faults = Callable[[int], None]


def require_loopback() -> None:
    """Skip the test, with a warning that is always shown, where processes cannot reach each other."""
    reason = "no loopback interface: nothing that takes several processes is tested here"
    if sys.platform == "win32" or not _has_loopback():
        warnings.warn(reason, stacklevel=2)
        pytest.skip(reason)


def _has_loopback() -> bool:
    with socket.socket() as server:
        try:
            server.bind((HOST, 0))
            server.listen()
            socket.create_connection(server.getsockname(), 5).close()
        except OSError:
            return False
    return True


def _started(process: BaseProcess) -> BaseProcess:
    process.start()
    atexit.register(_end, process)
    return process


def _end(process: BaseProcess) -> None:
    """A process that a failed test has left behind would be waited for when Python ends."""
    if process.is_alive():
        process.kill()


@dataclass
class Ranks:
    """Processes that run together.

    Attributes:
        processes: by rank.
        folder: what they write, see `said`.
        store: of the launcher.
    """

    processes: list[BaseProcess]
    folder: Path
    store: Any = field(repr=False)

    @property
    def pids(self) -> list[int]:
        """Of the processes, by rank."""
        return [process.pid or 0 for process in self.processes]

    def join(self, seconds: float = SECONDS) -> list[int]:
        """Wait for all; their exit codes by rank, negative for a signal. Those that hang fail the test."""
        limit = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, limit - time.monotonic()))
        late = [rank for rank, process in enumerate(self.processes) if process.exitcode is None]
        for rank in late:
            os.kill(self.pids[rank], signal.SIGKILL)
            self.processes[rank].join()
        assert not late, f"processes {late} still run after {seconds} s: {self.everything_said}"
        return [int(process.exitcode or 0) for process in self.processes]

    def said(self, rank: int) -> str:
        """What a process has written on standard output and standard error."""
        file = self.folder / f"rank{rank}.txt"
        return file.read_text() if file.exists() else ""

    @property
    def everything_said(self) -> str:
        """What all have written, one after the other."""
        return "\n".join(f"[{rank}] {self.said(rank)}" for rank in range(len(self.processes)))

    @property
    def errors(self) -> list[str]:
        """All lines that tell the user of an error."""
        return [line for line in self.everything_said.splitlines() if "error: " in line]


def start_ranks(
    target: Callable[..., Any],
    size: int,
    folder: Path,
    *,
    arguments: Sequence[Any] = (),
    environment: Mapping[str, str] | None = None,
    store: Any = None,
) -> Ranks:
    """Call `target(*arguments)` in `size` processes that find themselves as a launcher's; its result is the exit code.

    Args:
        target: a function of a module.
        size: how many processes.
        folder: for what they write.
        arguments: of the function, the same in all processes.
        environment: more variables.
        store: that of an earlier attempt; None for a new one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = _context()
    store = store or TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    common = {
        **_settings_of_tests(),
        "GLOO_SOCKET_IFNAME": "lo",
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": uuid.uuid4().hex,
        "TORCHELASTIC_RESTART_COUNT": "0",
        **(environment or {}),
    }
    processes = []
    for rank in range(size):
        own = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        process = context.Process(target=_in_process, args=(own, folder / f"rank{rank}.txt", target, tuple(arguments)))
        processes.append(_started(process))
    return Ranks(processes, folder, store)


def start_command(words: Sequence[Any], folder: Path) -> Ranks:
    """`onelook` with these words as a user types them: one process, which may start others. Its number is `pids[0]`."""
    folder.mkdir(parents=True, exist_ok=True)
    process = _context().Process(
        target=_in_process, args=(_settings_of_tests(), folder / "rank0.txt", _typed, (list(map(str, words)),))
    )
    return Ranks([_started(process)], folder, None)


def fork(target: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """A process of its own that calls `target(*arguments)`, a function of a module; it has begun."""
    return _started(_context().Process(target=_in_fork, args=(_settings_of_tests(), target, arguments)))


def _in_fork(environment: dict[str, str], target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    target(*arguments)


def _typed(words: list[str]) -> int:
    from onelook.cli.main import main

    sys.argv = ["onelook", *words]
    return main()


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _settings_of_tests() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name.startswith("ONELOOK_")}
    return {"OMP_NUM_THREADS": "1", **ours}


def ranks_below(launcher: int) -> dict[int, int]:
    """The processes that a launcher has started on Linux: number of the process by rank."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
            variables = (place / "environ").read_bytes().split(b"\0") if parent == launcher else []
        except (OSError, IndexError):  # it has just ended
            continue
        found |= {int(text[5:]): int(place.name) for text in variables if text.startswith(b"RANK=")}
    return found


def _in_process(
    environment: dict[str, str], output: Path, target: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:

    os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)  # for workers, as in a process that was not forked itself
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    code = target(*arguments)
    sys.stdout.flush()
    os._exit(code or 0)


def run_command(words: Sequence[str], faults: Faults | None = None) -> int:
    """The command line in this process; before, `faults` may prepare what will go wrong in this rank."""
    from onelook.cli.main import main

    if faults is not None:
        faults(int(os.environ["RANK"]))
    return main(list(words))


def train_ranks(words: Sequence[Any], size: int, folder: Path, *, faults: Faults | None = None) -> Ranks:
    """`onelook train` in several processes."""
    return start_ranks(run_command, size, folder, arguments=(["train", *map(str, words)], faults))
