"""The sections about classes: their numbers, and which is taken for which."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onelook.reports.pages.markup import Markup, element, joined, user_text
from onelook.reports.pages.page import folded, note, section, side_by_side
from onelook.reports.pages.tables import NOTHING, Cell, number, table
from onelook.reports.report_text import run_heading
from onelook.reports.run_record import RunRecord
from onelook.structures.metrics import Array, DetectionMetrics

HEAD = ("class", "images", "labels", "precision", "recall", "F1", "mAP50", "mAP50-95")
MAX_MATRIX_CLASSES = 60
NUM_CONFUSIONS = 15


def classes_section(runs: Sequence[RunRecord]) -> Markup:
    """Precision, recall and average precision of each class."""
    measured = [(number_of, run) for number_of, run in enumerate(runs) if run.metrics is not None]
    content: list[Markup] = [] if len(measured) < 2 else [_side_by_side([run for _, run in measured])]
    for number_of, run in measured:
        full = joined([run_heading(runs, number_of), _class_table(run)])
        content.append(full if len(runs) == 1 else folded(f"All numbers of {run.label}", full))
    return section("classes", "Classes", *(content or [note("There are no final numbers.")]))


def confusion_section(runs: Sequence[RunRecord]) -> Markup:
    """What each class was taken for."""
    words = (
        "Columns are true classes, rows what they were taken for, at a confidence above 0.25 and an IoU above 0.45; "
        "darker is a larger share of the column. The last row holds objects that were missed, the last column "
        "detections where there is nothing."
    )
    content: list[Markup] = [note(words)]
    for number_of, run in enumerate(runs):
        if run.metrics is None:
            continue
        frequent = element("div", element("h3", "Most frequent confusions"), _confusions(run))
        matrix = element("div", element("h3", "Matrix"), _matrix(run))
        shown = joined([run_heading(runs, number_of), side_by_side(matrix, frequent)])
        content.append(shown if number_of == 0 else folded(f"Confusion matrix of {run.label}", shown))
    return section("confusion", "Confusion", *content)


def _class_table(run: RunRecord) -> Markup:
    metrics = _of(run)
    means = (metrics.precision, metrics.recall, metrics.f1, metrics.map50, metrics.map50_95)
    rows: list[list[str | Cell]] = [
        ["all classes", f"{metrics.num_images:,}", f"{metrics.num_labels:,}", *(number(value) for value in means)]
    ]
    columns = (
        metrics.class_precision, metrics.class_recall, metrics.class_f1, metrics.class_ap50, metrics.class_ap,
    )  # fmt: skip
    for row, class_id in enumerate(metrics.class_ids.tolist()):
        counts = int(metrics.class_num_images[row]), int(metrics.class_num_labels[row])
        values = [float(column[row]) for column in columns]
        cells = [Cell(number(value), shade=0.45 * value) for value in values]
        rows.append([user_text(run.name_of(class_id)), *(f"{count:,}" for count in counts), *cells])
    return table(HEAD, rows, label="Numbers of each class", kind="first-row")


def _side_by_side(runs: Sequence[RunRecord]) -> Markup:
    """Average precision of each class in each run."""
    names = list(dict.fromkeys(name for run in runs for name in _ap_by_name(run)))
    values = {run.label: _ap_by_name(run) for run in runs}
    rows: list[list[str | Cell]] = []
    for name in names:
        own = [values[run.label].get(name, math.nan) for run in runs]
        best = max((value for value in own if math.isfinite(value)), default=math.nan)
        cells = [Cell(number(value), kind="best" if value == best else "") for value in own]
        rows.append([user_text(name), *cells])
    totals = [_of(run).map50_95 for run in runs]
    cells = [Cell(number(value), kind="best" if value == max(totals) else "") for value in totals]
    head = ["mAP50-95", *(user_text(run.label) for run in runs)]
    return table(head, [["all classes", *cells], *rows], label="Average precision of each class", kind="first-row")


def _ap_by_name(run: RunRecord) -> dict[str, float]:
    metrics = _of(run)
    pairs = zip(metrics.class_ids.tolist(), metrics.class_ap.tolist(), strict=True)
    return {run.name_of(class_id): float(ap) for class_id, ap in pairs}


def _matrix(run: RunRecord) -> Markup:
    counts = _of(run).confusion
    num_classes = len(counts) - 1
    if num_classes > MAX_MATRIX_CLASSES:
        return note(f"The matrix of {num_classes} classes is not shown: it would not fit.")
    names = [*(run.name_of(class_id) for class_id in range(num_classes)), "background"]
    shares = _shares(counts)
    rows: list[list[str | Cell]] = []
    for predicted, name in enumerate(names):
        cells: list[str | Cell] = [user_text(name)]
        for true, true_name in enumerate(names):
            count, share = int(counts[predicted, true]), float(shares[predicted, true])
            if count == 0:
                cells.append("")
                continue
            title = f"{true_name} taken for {name}: {count:,}, {100 * share:.1f} %"
            cells.append(Cell(f"{count:,}", shade=share, title=title))
        rows.append(cells)
    head = ["predicted \\ true", *(user_text(name) for name in names)]
    kind = "matrix" if num_classes <= 6 else "matrix upright"
    return table(head, rows, label="Confusion matrix", kind=kind)


def _confusions(run: RunRecord) -> Markup:
    """The largest cells off the diagonal."""
    counts = _of(run).confusion
    background = len(counts) - 1
    shares = _shares(counts)
    off = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    places = np.argsort(-off, axis=None, kind="stable")[:NUM_CONFUSIONS]
    rows: list[list[str | Cell]] = []
    for predicted, true in zip(*np.unravel_index(places, off.shape), strict=True):
        if off[predicted, true] == 0:
            break
        true_name = "nothing there" if true == background else user_text(run.name_of(int(true)))
        taken_for = "missed" if predicted == background else user_text(run.name_of(int(predicted)))
        share = NOTHING if true == background else f"{100 * float(shares[predicted, true]):.1f} %"
        rows.append([true_name, taken_for, f"{int(off[predicted, true]):,}", share])
    if not rows:
        return note("None: every object was found as what it is.")
    head = ["true", "taken for", "how often", "share of true"]
    return table(head, rows, label="Most frequent confusions", text_columns=2)


def _shares(counts: Array) -> Array:
    """Of each column, from 0 to 1."""
    totals = counts.sum(axis=0, keepdims=True)
    shares: Array = np.divide(counts, totals, out=np.zeros(counts.shape, np.float64), where=totals > 0)
    return shares


def _of(run: RunRecord) -> DetectionMetrics:
    assert run.metrics is not None, "asked of a run without metrics"
    return run.metrics
