"""The section in which a confidence threshold is tried out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onelook.reports.pages.line_chart import Axes, ChartLine, line_chart
from onelook.reports.pages.markup import Markup, data_block, element, joined, user_text
from onelook.reports.pages.page import folded, note, section
from onelook.reports.pages.tables import number, table
from onelook.reports.report_text import run_heading
from onelook.reports.run_record import RunRecord
from onelook.structures.metrics import Array, DetectionMetrics

MAX_NUMBERS = 100_000  # in the data of one slider; about 4 bytes each
MAX_NAMED = 12
UNIT = (0.0, 1.0)


def explorer_section(runs: Sequence[RunRecord]) -> Markup:
    """Precision against recall, and a slider that shows both, class by class, at any confidence."""
    measured = [(place, run) for place, run in enumerate(runs) if run.metrics is not None]
    words = (
        "Detections below the threshold are dropped. Move it to see what that does to precision, recall and F1 at an "
        "IoU of 0.50; it starts where the mean F1 over classes is highest."
    )
    content = [note(words)]
    for place, run in measured:
        shown = joined([run_heading(runs, place), _explorer(run, place)])
        content.append(shown if place == measured[0][0] else folded(f"Thresholds of {run.label}", shown))
    if len(measured) > 1:
        content.insert(0, element("div", _mean_curves(measured), class_="charts"))
    if not measured:
        content = [note("There are no curves of a final evaluation.")]
    return section("thresholds", "Thresholds", *content)


def _explorer(run: RunRecord, place: int) -> Markup:
    metrics = run.metrics
    if metrics is None or not len(metrics.class_ids):
        return note("No class has labels, so there is nothing to choose.")
    picked = _picked(metrics)
    step = 1 / (len(picked) - 1)
    identity = f"threshold-{place}"
    slider = element(
        "div",
        element("label", "Confidence threshold", for_=identity),
        element(
            "input",
            type="range",
            id=identity,
            min=0,
            max=1,
            step=round(step, 6),
            value=round(metrics.best_confidence, 6),
        ),
        element("output", f"{metrics.best_confidence:.3f}", for_=identity),
        element("button", "Best", type="button", class_="reset"),
        class_="slider",
    )
    data = {
        "best": metrics.best_confidence,
        "precision": _per_mille(metrics.curves.precision[:, picked]),
        "recall": _per_mille(metrics.curves.recall[:, picked]),
    }
    charts = element("div", _confidence_chart(metrics, place), _recall_chart(run, place), class_="charts")
    return element(
        "div", slider, charts, _at_best(run, metrics), data_block(f"{identity}-data", data), class_="explorer"
    )


def _at_best(run: RunRecord, metrics: DetectionMetrics) -> Markup:
    """The table that the slider changes, as it is at the start."""
    rows = [
        [
            "all classes",
            f"{metrics.num_labels:,}",
            number(metrics.precision),
            number(metrics.recall),
            number(metrics.f1),
        ]
    ]
    for row, class_id in enumerate(metrics.class_ids.tolist()):
        values = metrics.class_precision[row], metrics.class_recall[row], metrics.class_f1[row]
        labels = f"{int(metrics.class_num_labels[row]):,}"
        rows.append([user_text(run.name_of(class_id)), labels, *(number(float(value)) for value in values)])
    head = ["class", "labels", "precision", "recall", "F1"]
    return table(head, rows, label="Numbers at the chosen threshold", kind="first-row")


def _confidence_chart(metrics: DetectionMetrics, place: int) -> Markup:
    curves = metrics.curves
    x = curves.confidence.tolist()
    lines = [
        ChartLine(name, x, values.mean(axis=0).tolist(), colour, colour)
        for colour, (name, values) in enumerate(
            {"precision": curves.precision, "recall": curves.recall, "F1": curves.f1}.items()
        )
    ]
    axes = Axes("confidence threshold", UNIT, UNIT, x_is_whole=False, shows_ends=False)
    return line_chart(f"confidence-{place}", "Means over classes", lines, axes)


def _recall_chart(run: RunRecord, place: int) -> Markup:
    """Precision against recall: of each class, named if they are few, and their mean."""
    metrics = run.metrics
    assert metrics is not None
    x = metrics.curves.recall_points.tolist()
    curves = metrics.curves.precision_at_recall
    are_named = len(curves) <= MAX_NAMED
    lines = [
        ChartLine(run.name_of(class_id), x, row.tolist(), 1 + number_of, 1 + number_of % 3, is_faint=not are_named)
        for number_of, (class_id, row) in enumerate(zip(metrics.class_ids.tolist(), curves, strict=True))
    ]
    mean = ChartLine("all classes", x, curves.mean(axis=0).tolist(), 0)
    lines = [*lines, mean] if len(lines) > 1 else lines
    return line_chart(
        f"recall-{place}",
        "Precision against recall",
        lines,
        Axes("recall", UNIT, UNIT, x_is_whole=False, shows_ends=False),
    )


def _mean_curves(measured: Sequence[tuple[int, RunRecord]]) -> Markup:
    lines = []
    for place, run in measured:
        if run.metrics is not None and len(run.metrics.class_ids):
            curves = run.metrics.curves
            mean = curves.precision_at_recall.mean(axis=0).tolist()
            lines.append(ChartLine(run.label, curves.recall_points.tolist(), mean, place, place // 8))
    axes = Axes("recall", UNIT, UNIT, x_is_whole=False, shows_ends=False)
    return line_chart("recall-all", "Precision against recall, mean over classes", lines, axes)


def _picked(metrics: DetectionMetrics) -> Array:
    """Evenly spaced points of the curves: all of them, or as many as the page has room for."""
    points = len(metrics.curves.confidence)
    count = min(points, max(21, MAX_NUMBERS // (2 * len(metrics.class_ids))))
    picked: Array = np.linspace(0, points - 1, count).round().astype(np.int64)
    return picked


def _per_mille(values: Array) -> list[list[int]]:
    whole: list[list[int]] = np.rint(1000 * np.nan_to_num(np.clip(values, 0, 1))).astype(np.int64).tolist()
    return whole
