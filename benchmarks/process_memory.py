"""How much memory this process and its children use together."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType


def proportional_set(*, without: bytes | None = None) -> int:
    """Bytes of this process and of its children, pages that several have mapped counted once.

    Args:
        without: children with this in their command line are left out.
    """
    total = 0
    for process in _with_children():
        try:
            if without is not None and without in (process / "cmdline").read_bytes():
                continue
            lines = (process / "smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


class MemoryWatch:
    """While it is open, it looks twice a second; `peak_mib` is the most that was seen."""

    def __init__(self) -> None:
        self.peak_mib = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, proportional_set() >> 20)
            if self._ended.wait(0.5):
                return


def _with_children() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if os.getpid() in (parent, int(process.name)):
            yield process
