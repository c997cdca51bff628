"""Processors and memory that this process may use, within the limits of its control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def available_processors(*, proc: Path = PROC, control_groups: Path = CONTROL_GROUPS) -> int:
    """Processors that this process may use, within its affinity and the quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _own_groups("cpu", proc, control_groups):
        both = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(both) == 2 and both[0].isdigit() and both[1].isdigit():
            count = min(count, max(1, int(both[0]) // int(both[1])))
    return count


def available_memory(*, proc: Path = PROC, control_groups: Path = CONTROL_GROUPS) -> int | None:
    """Bytes that can be used without swapping; None if unknown.

    The page cache does not count as used.
    """
    limits, words = list(_free_of_groups(proc, control_groups)), _words(proc / "meminfo")
    if "MemAvailable:" in words:
        limits.append(int(words[words.index("MemAvailable:") + 1]) * 1024)
    return min(limits, default=None)


def _free_of_groups(proc: Path, control_groups: Path) -> Iterator[int]:
    for folder in _own_groups("memory", proc, control_groups):
        for limit_name, used_name, files_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = ("".join(_words(folder / name)) for name in (limit_name, used_name))
            if limit.isdigit() and used.isdigit():
                statistics = _words(folder / "memory.stat")
                files = int(statistics[statistics.index(files_name) + 1]) if files_name in statistics else 0
                yield max(0, int(limit) - max(0, int(used) - files))


def _own_groups(controller: str, proc: Path, control_groups: Path) -> Iterator[Path]:
    """The folder of this process's group and those above it, of version 1 and 2; a limit of any of them counts.

    In a container, the path that the kernel gives may lie outside the mount; then the mount itself counts.
    """
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = control_groups / controller if controllers else control_groups
        own = mount / path.lstrip("/")
        while own != mount and mount in own.parents:
            yield own
            own = own.parent
        yield mount


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in line.split()]


def _lines(path: Path) -> list[str]:
    """The lines of a small file of the system; none if it is not there or not for us."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
