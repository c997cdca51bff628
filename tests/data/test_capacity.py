"""What a process may use, read from copies of the files in which Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onelook.data.capacity import available_memory, available_processors

MACHINE = {"proc/meminfo": "MemTotal: 64000 kB\nMemFree: 100 kB\nMemAvailable: 50000 kB\n"}
V2 = {**MACHINE, "proc/self/cgroup": "0::/jobs/mine\n"}
V1 = {**MACHINE, "proc/self/cgroup": "4:memory:/mine\n3:cpu,cpuacct:/mine\n0::/\n"}


def machine(folder: Path, files: dict[str, str]) -> dict[str, Path]:
    """The arguments that make these files the machine."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return {"proc": folder / "proc", "control_groups": folder / "cgroup"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MACHINE, 50000 * 1024),
        (V2, 50000 * 1024),
        ({**V2, "cgroup/jobs/mine/memory.max": "max\n", "cgroup/jobs/mine/memory.current": "5\n"}, 50000 * 1024),
        ({**V2, "cgroup/jobs/mine/memory.max": "9000\n", "cgroup/jobs/mine/memory.current": "5000\n"}, 4000),
        ({**V2, "cgroup/jobs/memory.max": "9000\n", "cgroup/jobs/memory.current": "9500\n"}, 0),
        ({**V2, "cgroup/memory.max": "9000\n", "cgroup/memory.current": "2000\n"}, 7000),
        (
            {
                **V2,
                "cgroup/jobs/mine/memory.max": "9000\n",
                "cgroup/jobs/mine/memory.current": "8000\n",
                "cgroup/jobs/mine/memory.stat": "anon 3000\ninactive_file 4000\nactive_file 900\n",
            },
            5000,
        ),
        (
            {
                **V1,
                "cgroup/memory/mine/memory.limit_in_bytes": "9000\n",
                "cgroup/memory/mine/memory.usage_in_bytes": "8000\n",
                "cgroup/memory/mine/memory.stat": "cache 4500\ninactive_file 1\ntotal_inactive_file 4000\n",
            },
            5000,
        ),
        (
            {
                **V1,
                "cgroup/memory/memory.limit_in_bytes": "700\n",
                "cgroup/memory/memory.usage_in_bytes": "100\n",
                "cgroup/memory.max": "5\n",
                "cgroup/memory.current": "5\n",
            },
            0,
        ),
    ],
)
def test_memory_is_what_the_tightest_limit_leaves(files: dict[str, str], expected: int | None, tmp_path: Path) -> None:
    assert available_memory(**machine(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({**V2, "cgroup/jobs/mine/cpu.max": "max 100000\n"}, 8),
        ({**V2, "cgroup/jobs/mine/cpu.max": "250000 100000\n"}, 2),
        ({**V2, "cgroup/jobs/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/bär\n", "cgroup/bär/cpu.max": "250000 100000\n"}, 2),
        ({**V1, "cgroup/cpu/mine/cpu.cfs_quota_us": "300000\n", "cgroup/cpu/mine/cpu.cfs_period_us": "100000\n"}, 3),
        ({**V1, "cgroup/cpu/mine/cpu.cfs_quota_us": "-1\n", "cgroup/cpu/mine/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_processors_are_those_of_the_affinity_and_the_quota(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_processors(**machine(tmp_path, files)) == expected


def test_this_machine_has_processors_and_memory() -> None:
    assert 1 <= available_processors() <= (os.cpu_count() or 1)
    if Path("/proc/meminfo").is_file():
        assert 1e6 < (available_memory() or 0) < 1e15
