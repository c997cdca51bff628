"""Folds, series and classes on the console: every number where it belongs, folds within 80 columns."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from plots_examples import AWKWARD_NAMES, make_metrics
from rich.console import Console
from rich.table import Table

from onelook.callbacks.metric_tables import class_spread_table, class_table, fold_table, series_table
from onelook.metrics.fold_summary import FoldScore, sum_up

METRICS = (make_metrics(2, num_classes=3, seed=1), make_metrics(3, num_classes=3, seed=2))
SCORES = [
    FoldScore(f"fold{number}", Path(f"runs/fold{number}"), 100, 37 * number, metrics)
    for number, metrics in enumerate(METRICS, start=1)
]
SUMMARY = sum_up([score.metrics for score in SCORES])
TIMES = {"load": 1.0, "inference": 12.25, "nms": 3.0, "metrics": 9.0}


def lines_of(table: Table, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    console.print(table)
    return console.file.getvalue().splitlines()


def test_folds_come_first_then_mean_and_deviation() -> None:
    rows = [line.split() for line in lines_of(fold_table(SCORES, SUMMARY)) if line.strip()]
    assert rows[0] == ["Fold", "Epochs", "Best", "Images", "Labels", "P", "R", "mAP50", "mAP50-95"]
    assert [row[0] for row in rows[2:]] == ["fold1", "fold2", "mean", "deviation"]
    second, mean, deviation = rows[3:]
    assert second[1:3] == ["100", "74"] and second[-1] == f"{SCORES[1].metrics.map50_95:.3f}"
    spread = SUMMARY.spreads["map50_95"]
    assert (mean[1], mean[2]) == (f"{SUMMARY.num_images:,}", f"{SUMMARY.num_labels:,}")
    assert (mean[-1], deviation[-1]) == (f"{spread.mean:.3f}", f"{spread.sd:.3f}")


def test_a_class_of_one_fold_has_no_deviation() -> None:
    *_, both, alone = (line.split() for line in lines_of(class_spread_table(SUMMARY, ("bee", "wasp", "fly"))))
    spread = SUMMARY.classes[1].spreads["ap50_95"]
    assert both[0] == "wasp" and both[1] == "2"
    assert both[-5:] == [f"{spread.mean:.3f}", "±", f"{spread.sd:.3f}", f"{spread.lowest:.3f}", f"{spread.highest:.3f}"]
    value = f"{SUMMARY.classes[2].spreads['ap50_95'].mean:.3f}"
    assert alone[0] == "fly" and alone[1] == "1" and alone[-5:] == [value, "±", "-", value, value]


@pytest.mark.parametrize("sign", ["±", "+-"])
def test_names_from_files_cannot_steer_the_terminal_nor_widen_the_table(sign: str) -> None:
    lines = lines_of(class_spread_table(SUMMARY, (AWKWARD_NAMES * 3)[:2], sign=sign))
    assert max(map(len, lines)) <= 80 and not any("\x1b" in line for line in lines)
    assert any("class 2" in line and f" {sign} " in line for line in lines)


def test_every_measurement_of_a_series_has_its_line() -> None:
    metrics = METRICS[0]
    rows = [("a.pt", 256, metrics, TIMES), ("a.pt", 384, metrics, TIMES), ("[b]\x1b.pt", 256, metrics, TIMES)]
    header, _, *lines = (line.split() for line in lines_of(series_table(rows), width=100))
    numbers = [f"{metrics.map50:.3f}", f"{metrics.map50_95:.3f}", "1.0", "12.2", "3.0"]
    assert header == ["Weights", "Size", "mAP50", "mAP50-95", "load", "ms", "inference", "ms", "nms", "ms"]
    assert lines[:2] == [["a.pt", "256", *numbers], ["384", *numbers]]
    assert lines[2][0].startswith("[b]") and "\x1b" not in lines[2][0]


def test_classes_are_left_out_of_the_table_on_demand() -> None:
    names = ("bee", "wasp", "fly")
    assert len(lines_of(class_table(METRICS[0], names))) == 2 + 1 + len(METRICS[0].class_ids)
    (only,) = lines_of(class_table(METRICS[0], names, with_classes=False))[2:]
    assert only.split()[0] == "all"
