"""A line for each measurement of a series, models named once."""

from __future__ import annotations

import io

from plots_examples import make_metrics
from rich.console import Console

from onelook.callbacks.class_table import class_table
from onelook.callbacks.series_table import series_table

METRICS = make_metrics(2)
TIMES = {"load": 1.0, "inference": 12.25, "nms": 3.0, "metrics": 9.0}


def lines_of(table: object) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    return [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_every_measurement_has_its_line() -> None:
    header, _, *lines = lines_of(series_table([("a.pt", 256, METRICS, TIMES), ("a.pt", 384, METRICS, TIMES),
                                               ("[b]\x1b.pt", 256, METRICS, TIMES)]))  # fmt: skip
    numbers = [f"{METRICS.map50:.3f}", f"{METRICS.map50_95:.3f}", "1.0", "12.2", "3.0"]
    assert header == ["Weights", "Size", "mAP50", "mAP50-95", "load", "ms", "inference", "ms", "nms", "ms"]
    assert lines[:2] == [["a.pt", "256", *numbers], ["384", *numbers]]
    assert lines[2][0].startswith("[b]") and "\x1b" not in lines[2][0]


def test_classes_are_left_out_of_the_table_on_demand() -> None:
    names = ("bee", "wasp")
    assert len(lines_of(class_table(METRICS, names))) == 2 + 3
    (only,) = lines_of(class_table(METRICS, names, with_classes=False))[2:]
    assert only[0] == "all"
