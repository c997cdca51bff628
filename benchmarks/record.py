"""Results of the benchmarks as CSV: every row says on which machine, under which load and at which commit it arose."""

from __future__ import annotations

import csv
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def append_rows(name: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, machine: str = "") -> None:
    """Add `rows` to `results/{name}.csv`, which gets `header` if it is new; `machine` is this one unless given."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    place = [machine or processor(), f"{os.getloadavg()[0]:.1f}", commit.stdout.strip()]
    path = RESULTS / f"{name}.csv"
    is_new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow([*header, "machine", "load_average", "commit"])
        writer.writerows([*row, *place] for row in rows)


def rows_of(name: str) -> list[dict[str, str]]:
    """All rows of `results/{name}.csv`, none if there is no such file."""
    path = RESULTS / f"{name}.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mean_and_spread(rows: Sequence[Mapping[str, str]], columns: Iterable[str]) -> str:
    """How many rows there are, and mean and standard deviation of each column that is not empty."""
    parts = [f"{len(rows)} seeds"]
    for column in columns:
        values = [float(row[column]) for row in rows if row[column]]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            parts.append(f"{column} {statistics.mean(values):.4f} +- {spread:.4f}")
    return "  ".join(parts)


def processor() -> str:
    """The processor by name, and how many of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"
