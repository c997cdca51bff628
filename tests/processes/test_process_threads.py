"""Threads of torch: within the quota of the container, shared out among processes, and never more than was set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from onelook.processes import launcher, threads
from onelook.processes.threads import limit_threads

PRINT = (
    "import torch; from onelook.processes.threads import limit_threads; limit_threads(); print(torch.get_num_threads())"
)


@pytest.fixture
def of_64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that torch gives 64 threads; the number before is put back."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(64)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("processors", "environment", "expected"),
    [
        (2, {}, 2),
        (8, {"RANK": "0", "WORLD_SIZE": "4"}, 2),
        (8, {"RANK": "0", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "4"}, 2),
        (1, {"RANK": "0", "WORLD_SIZE": "4"}, 1),
        (128, {}, 64),
        (2, {"OMP_NUM_THREADS": "64"}, 64),
    ],
)
def test_threads_are_limited_by_the_quota_and_the_processes_that_share_it(
    of_64: None, processors: int, environment: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "available_processors", lambda: processors)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    limit_threads()
    assert torch.get_num_threads() == expected


def test_the_launcher_shares_out_the_processors_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "available_processors", lambda: 6)
    assert launcher._environment(0, 2, 1, "launch", 0)["OMP_NUM_THREADS"] == "3"


@pytest.mark.slow  # the same of a function is shown above
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_a_process_that_may_use_one_processor_takes_one_thread() -> None:
    code = f"import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); {PRINT}"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"
