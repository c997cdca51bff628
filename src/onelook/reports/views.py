"""Values that the report derives from its runs: confusions, thresholds, differing settings, machines."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onelook.data.scan.ledger import Ledger, LedgerEntry
from onelook.reports.html import NOTHING, number
from onelook.reports.line_chart import Axes, Chart, ChartLine, line_chart
from onelook.reports.run_record import RunRecord
from onelook.runs.run_dir import RunDir
from onelook.settings.train import TrainSettings
from onelook.structures.metrics import Array, DetectionMetrics
from onelook.training.eta import duration

NUM_CONFUSIONS = 15
MAX_ENTRIES = 100
MAX_VALUE = 400
MAX_NUMBERS = 100_000  # in the data of one slider; about 4 bytes each
MAX_NAMED = 12
UNIT = (0.0, 1.0)
SCORES = {"mAP50-95": "map50_95", "mAP50": "map50", "Precision": "precision", "Recall": "recall", "F1": "f1"}
STAGES = {"load": "loading", "inference": "network", "nms": "NMS", "metrics": "metrics"}


def figures(run: RunRecord) -> list[tuple[str, str]]:
    """The key figures of a run: name and value."""
    found = [] if run.metrics is None else [(name, number(getattr(run.metrics, of))) for name, of in SCORES.items()]
    if run.results:
        best_epoch = "" if run.best_epoch is None else f", best {run.best_epoch}"
        found.append(("Epochs", f"{len(run.results)}{best_epoch}"))
    return found if math.isnan(run.seconds) else [*found, ("Time", duration(run.seconds))]


def has_gallery(run: RunRecord) -> bool:
    """Whether the folder of a run has the page of all images."""
    return RunDir(run.path).gallery.is_file()


@dataclass(frozen=True)
class Confusion:
    """How often objects of one class were predicted as another; None is the background."""

    true: int | None
    predicted: int | None
    count: int
    share: float


def shares(metrics: DetectionMetrics) -> Array:
    """The confusion matrix as shares of its columns, 0 to 1."""
    totals = metrics.confusion.sum(axis=0, keepdims=True)
    found: Array = np.divide(metrics.confusion, totals, out=np.zeros(metrics.confusion.shape), where=totals > 0)
    return found


def confusions(metrics: DetectionMetrics) -> list[Confusion]:
    """The largest cells off the diagonal."""
    cells, background = metrics.confusion_cells, metrics.num_classes
    totals = np.bincount(cells[:, 1], cells[:, 2], minlength=background + 1)
    wrong = cells[cells[:, 0] != cells[:, 1]]
    found = []
    for row, column, count in wrong[np.argsort(-wrong[:, 2], kind="stable")[:NUM_CONFUSIONS]].tolist():
        true, predicted = (None if one == background else one for one in (column, row))
        of_true = math.nan if true is None else float(count / totals[column])
        found.append(Confusion(true, predicted, count, of_true))
    return found


def ap_by_class(runs: Sequence[RunRecord]) -> dict[str, list[float]]:
    """Average precision of each class in each run; nan where a run has no such class."""
    found: dict[str, list[float]] = {}
    for index, run in enumerate(runs):
        if run.metrics is not None:
            for class_id, ap in zip(run.metrics.class_ids.tolist(), run.metrics.class_ap.tolist(), strict=True):
                found.setdefault(run.name_of(class_id), [math.nan] * len(runs))[index] = ap
    return found


def best(values: Sequence[float]) -> float:
    """The highest finite value; nan, which equals nothing, if there is none."""
    return max((value for value in values if math.isfinite(value)), default=math.nan)


@dataclass(frozen=True)
class Threshold:
    """The charts and the values behind the threshold slider of one run.

    Attributes:
        confidence, recall: charts over the confidence, and of precision against recall.
        data: values for `explorer.js`, per class, in thousandths.
    """

    confidence: Chart
    recall: Chart
    data: Mapping[str, Any]

    @property
    def step(self) -> float:
        return round(1 / (len(self.data["precision"][0]) - 1), 6)


def threshold(run: RunRecord, index: int) -> Threshold | None:
    """The threshold slider of a run; None without metrics or classes."""
    metrics = run.metrics
    if metrics is None or not len(metrics.class_ids):
        return None
    curves = metrics.curves
    count = min(len(curves.confidence), max(21, MAX_NUMBERS // (2 * len(metrics.class_ids))))
    picked = np.linspace(0, len(curves.confidence) - 1, count).round().astype(np.int64)
    means = {"precision": curves.precision, "recall": curves.recall, "F1": curves.f1}
    x = curves.confidence.tolist()
    over_confidence = [
        ChartLine(name, x, values.mean(axis=0).tolist(), colour, colour)
        for colour, (name, values) in enumerate(means.items())
    ]
    points, at_recall = curves.recall_points.tolist(), curves.precision_at_recall
    lines = [
        ChartLine(run.name_of(class_id), points, row.tolist(), 1 + k, 1 + k % 3, is_faint=len(at_recall) > MAX_NAMED)
        for k, (class_id, row) in enumerate(zip(metrics.class_ids.tolist(), at_recall, strict=True))
    ]
    mean = [ChartLine("all classes", points, at_recall.mean(axis=0).tolist(), 0)] if len(lines) > 1 else []
    return Threshold(
        line_chart(f"confidence-{index}", "Means over classes", over_confidence, _shares_over("confidence threshold")),
        line_chart(f"recall-{index}", "Precision against recall", [*lines, *mean], _shares_over("recall")),
        {
            "best": metrics.best_confidence,
            "precision": _per_mille(curves.precision[:, picked]),
            "recall": _per_mille(curves.recall[:, picked]),
        },
    )


def mean_recall_chart(runs: Sequence[RunRecord]) -> Chart:
    """Precision against recall of several runs."""
    lines = []
    for index, run in enumerate(runs):
        if run.metrics is not None and len(run.metrics.class_ids):
            curves = run.metrics.curves
            mean = curves.precision_at_recall.mean(axis=0).tolist()
            lines.append(ChartLine(run.label, curves.recall_points.tolist(), mean, index, index // 8))
    return line_chart("recall-all", "Precision against recall, mean over classes", lines, _shares_over("recall"))


def class_counts(run: RunRecord) -> list[tuple[str, list[int]]]:
    """Labels of each class in each split."""
    if run.facts is None:
        return []
    splits = [facts.labels for facts in run.facts.splits.values()]
    return [
        (name, [labels[class_id] if class_id < len(labels) else 0 for labels in splits])
        for class_id, name in enumerate(run.facts.names)
    ]


def missing_classes(run: RunRecord) -> dict[str, list[str]]:
    """Classes without labels, by split."""
    splits = {} if run.facts is None else run.facts.splits
    names = () if run.facts is None else run.facts.names
    return {
        split: [name for name, count in zip(names, facts.labels, strict=False) if not count]
        for split, facts in splits.items()
    }


def basis(run: RunRecord) -> list[str]:
    """Data, image size and initial weights of a run."""
    known = run.settings
    start = str(known.get("weights") or "") or ("random weights" if known else NOTHING)
    size = f"{known['imgsz']} px" if "imgsz" in known else NOTHING
    return [setting_text(run, "data"), size, start]


def differ_in_data(runs: Sequence[RunRecord]) -> bool:
    """Whether runs are known to differ in their images or labels."""
    known = [(run.facts.names, run.facts.splits, run.ledgers) for run in runs if run.facts is not None]
    return any(one != known[0] for one in known)


def same_data(run: RunRecord, others: Sequence[RunRecord]) -> RunRecord | None:
    """The first of the others with the same images and labels."""

    def data(one: RunRecord) -> tuple[object, object]:
        return one.ledgers, None if one.facts is None else one.facts.splits

    return next((other for other in others if data(other) == data(run)), None)


def reasons(ledger: Ledger) -> list[tuple[tuple[str, str], int]]:
    """(Outcome, reason) and number of entries, the 20 most frequent first."""
    return Counter((str(entry.outcome), str(entry.reason)) for entry in ledger.entries).most_common(20)


def first_entries(ledger: Ledger) -> tuple[LedgerEntry, ...]:
    """The first entries of a ledger, as many as a page shows."""
    return ledger.entries[:MAX_ENTRIES]


def environments(runs: Sequence[RunRecord]) -> list[tuple[str, Mapping[str, str]]]:
    """Machines and versions of the runs; several where a run was resumed elsewhere."""
    return [
        (run.label if len(run.facts.environments) == 1 else f"{run.label}, part {part}", found)
        for run in runs
        if run.facts is not None
        for part, found in enumerate(run.facts.environments, start=1)
    ]


def environment_names(runs: Sequence[RunRecord]) -> list[str]:
    """The names of all facts about the machines, in order."""
    return list(dict.fromkeys(name for _, found in environments(runs) for name in found))


def stages(runs: Sequence[RunRecord]) -> dict[str, str]:
    """The stages of the final evaluations, and their titles."""
    return {stage: STAGES.get(stage, stage) for run in runs for stage in run.milliseconds}


def setting_names(runs: Sequence[RunRecord]) -> list[str]:
    """Names of all settings, those of this version first, in their order."""
    given = {name for run in runs for name in run.settings}
    known = [name for name in TrainSettings.model_fields if name in given]
    return known + sorted(given - set(known))


def differing_settings(runs: Sequence[RunRecord]) -> list[str]:
    """Settings that differ: from the defaults for one run, from each other for several."""
    if len(runs) == 1:
        return [name for name in setting_names(runs) if runs[0].settings[name] != _default(name)]
    return [name for name in setting_names(runs) if len({setting_text(run, name) for run in runs}) > 1]


def setting_text(run: RunRecord, name: str) -> str:
    return value_text(run.settings[name]) if name in run.settings else NOTHING


def default_text(name: str) -> str:
    return value_text(_default(name)) if name in TrainSettings.model_fields else NOTHING


def value_text(value: Any) -> str:
    """A value of a setting as text.

    >>> value_text(True), value_text([0, 1]), value_text(""), value_text(0.001)
    ('yes', '0, 1', '(empty)', '0.001')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(part, list | dict) for part in value):
        text = ", ".join(map(str, value)) or "(none)"
    elif isinstance(value, list | dict):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = str(value) if value is not None else "(none)"
    return (text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…") or "(empty)"


def _default(name: str) -> Any:
    """The default of a setting as in `settings.yaml`; `...`, which equals no value, for unknown ones."""
    default = TrainSettings.model_fields[name].default if name in TrainSettings.model_fields else ...
    return str(default) if hasattr(default, "__fspath__") else default


def _shares_over(label: str) -> Axes:
    return Axes(label, UNIT, UNIT, x_is_whole=False, shows_ends=False)


def _per_mille(values: Array) -> list[list[int]]:
    whole: list[list[int]] = np.rint(1000 * np.nan_to_num(np.clip(values, 0, 1))).astype(np.int64).tolist()
    return whole
