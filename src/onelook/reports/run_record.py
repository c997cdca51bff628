"""A run as its folder records it; missing and damaged files are noted, the others are used."""

from __future__ import annotations

import csv
import io
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from onelook.callbacks.run_facts import RunFacts, facts_from_json
from onelook.data.scan.ledger import Ledger, ledger_from
from onelook.errors import DataError, RunFolderError
from onelook.files.bounded import printable, read_bounded
from onelook.files.yaml import parse_yaml
from onelook.reports.examples import Examples, examples_from_json
from onelook.runs.run_dir import RunDir
from onelook.structures.metrics import DetectionMetrics, from_arrays
from onelook.structures.results import MAP50, MAP50_95, fitness_of

Row = Mapping[str, float]
Read = TypeVar("Read")

MAX_BYTES = 1 << 26
MAX_SETTINGS_BYTES = 1 << 20
MAX_ARRAY_BYTES = 1 << 28
# What our readers and those of zip archives and NumPy arrays raise for damaged files; RuntimeError comes from unknown
# compressions and from deep nesting.
UNREADABLE = (
    DataError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    SyntaxError,
    MemoryError,
)


@dataclass(frozen=True)
class RunRecord:
    """One run, as far as its folder records it.

    Attributes:
        label: short name, unique within a report.
        settings: settings of the run, by name.
        results, speeds: lines of `results.csv` and `speed.csv`; empty cells are nan.
        status: content of `status.json`: state and message.
        ledgers: what happened to the labels, by split.
        milliseconds: time per image of the final evaluation, by stage.
        class_names: names of the classes that have metrics, in their order.
        facts, examples: see `RunFacts` and `Examples`.
        absent: why a file could not be used, by its name; "" where there is no such file.
    """

    path: Path
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[Row, ...] = ()
    speeds: tuple[Row, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    metrics: DetectionMetrics | None = None
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    facts: RunFacts | None = None
    examples: Examples | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, class_id: int) -> str:
        """The name of a class, or `class 7` if no file has the name."""
        if self.facts is not None and 0 <= class_id < len(self.facts.names):
            return self.facts.names[class_id]
        if self.metrics is not None:
            known: dict[int, str] = dict(zip(self.metrics.class_ids.tolist(), self.class_names, strict=False))
            return known.get(class_id, f"class {class_id}")
        return f"class {class_id}"

    def names(self, num_classes: int) -> list[str]:
        """Names of the classes 0 to `num_classes` - 1."""
        return [self.name_of(class_id) for class_id in range(num_classes)]

    def column(self, name: str) -> list[float]:
        """A column of `results.csv`; nan for missing values."""
        return [row.get(name, math.nan) for row in self.results]

    @property
    def seconds(self) -> float:
        """Total time of training, validation and saving; nan if unknown."""
        names = ("train_seconds", "val_seconds", "save_seconds")
        return sum(row.get(name, 0.0) for row in self.speeds for name in names) if self.speeds else math.nan

    @property
    def fitness(self) -> list[float]:
        """0.1 mAP50 + 0.9 mAP50-95 of each epoch."""
        return list(map(fitness_of, self.column(MAP50), self.column(MAP50_95)))

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the highest fitness; None if none was validated."""
        known = [(value, -row) for row, value in enumerate(self.fitness) if math.isfinite(value)]
        epochs = self.column("epoch")
        return int(epochs[-max(known)[1]]) if known and math.isfinite(epochs[-max(known)[1]]) else None


def read_run(path: Path, *, label: str = "") -> RunRecord:
    """Read a run folder.

    Args:
        label: name of the run; if empty, that of the folder.

    Raises:
        RunFolderError: the folder does not exist, or is not a run folder.
    """
    if not path.is_dir():
        raise RunFolderError(f"run folder `{printable(path)}` does not exist", hint="give the folder of a run")
    run, absent = RunDir(path), dict[str, str]()
    unmeasured: tuple[tuple[str, ...], dict[str, float]] = ((), {})
    class_names, milliseconds = _read(run.metrics, _metrics_document, unmeasured, absent)
    record = RunRecord(
        path=path,
        label=label or printable(path.resolve().name),
        settings=_read(run.settings, _settings, {}, absent, max_bytes=MAX_SETTINGS_BYTES),
        results=_read(run.results, _rows, (), absent),
        speeds=_read(run.speeds, _rows, (), absent),
        status=_read(run.status, _document, {}, absent),
        ledgers=_read(run.ledger, _ledgers, {}, absent),
        metrics=_read(run.metrics_arrays, _arrays, None, absent),
        milliseconds=milliseconds,
        class_names=class_names,
        facts=_read(run.facts, facts_from_json, None, absent),
        examples=_read(run.examples, examples_from_json, None, absent),
        absent=absent,
    )
    if not record.results and record.metrics is None and not record.settings:
        raise RunFolderError(
            f"`{printable(path)}` is not a run folder: it has none of `settings.yaml`, `results.csv` and `metrics.npz`",
            hint="give a folder that `onelook train` or `onelook val` wrote, such as `runs/train/exp`",
        )
    return record


def read_runs(paths: Sequence[Path]) -> list[RunRecord]:
    """Read several run folders; labels of equal names include the folders above."""
    folders = [path.resolve() for path in paths]
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(set(folders)):
        depth += 1
    labels = ["/".join(map(printable, folder.parts[-depth:])) for folder in folders]
    seen: dict[str, int] = {}
    records = []
    for path, label in zip(paths, labels, strict=True):
        seen[label] = seen.get(label, 0) + 1
        records.append(read_run(path, label=label if seen[label] == 1 else f"{label} ({seen[label]})"))
    return records


def _read(
    path: Path, parse: Callable[[bytes], Read], otherwise: Read, absent: dict[str, str], *, max_bytes: int = MAX_BYTES
) -> Read:
    """The parsed content of a file; `otherwise`, with the reason in `absent`, if it is missing or damaged."""
    if not path.is_file():
        absent[path.name] = ""
        return otherwise
    try:
        return parse(read_bounded(path, max_bytes))
    except UNREADABLE as problem:
        absent[path.name] = " ".join(str(problem).split())[:200] or type(problem).__name__
        return otherwise


def _settings(data: bytes) -> dict[str, Any]:
    content = parse_yaml(data.decode("utf-8"), "the file", error=DataError)
    if not isinstance(content, dict):
        raise ValueError("it holds no `key: value` lines")
    return {str(key): value for key, value in content.items()}


def _document(data: bytes) -> dict[str, Any]:
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content


def _rows(data: bytes) -> tuple[Row, ...]:
    lines = csv.DictReader(io.StringIO(data.decode("utf-8")))
    rows = tuple({str(name): _number(cell) for name, cell in line.items() if name} for line in lines)
    if any("epoch" not in row for row in rows):
        raise ValueError("it has no column `epoch`")
    return tuple(row for row in rows if math.isfinite(row["epoch"]))


def _number(cell: str | None) -> float:
    return float(cell) if cell else math.nan


def _ledgers(data: bytes) -> dict[str, Ledger]:
    return {split: ledger_from(content) for split, content in _document(data).items()}


def _arrays(data: bytes) -> DetectionMetrics:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_ARRAY_BYTES:
            raise ValueError("its arrays are too large")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        metrics = from_arrays(dict(arrays))
    num_classes, points = metrics.class_ids.shape[0], metrics.curves.confidence.shape[0]
    per_class = (metrics.class_precision, metrics.class_recall, metrics.class_f1, metrics.class_ap50, metrics.class_ap)
    counts = (metrics.class_num_images, metrics.class_num_labels)
    curves = (metrics.curves.precision, metrics.curves.recall, metrics.curves.f1)
    cells = metrics.confusion_cells
    is_whole = (
        all(array.shape == (num_classes,) for array in (*per_class, *counts))
        and all(array.shape == (num_classes, points) for array in curves)
        and metrics.curves.precision_at_recall.shape == (num_classes, len(metrics.curves.recall_points))
        and (cells.ndim, cells.shape[-1], cells.dtype.kind) == (2, 3, "i")
        and bool(((cells[:, :2] >= 0) & (cells[:, :2] <= metrics.num_classes)).all())
        and points > 1
    )
    if not is_whole or not np.issubdtype(metrics.class_ids.dtype, np.integer):
        raise ValueError("its arrays do not fit together")
    return metrics


def _metrics_document(data: bytes) -> tuple[tuple[str, ...], dict[str, float]]:
    content = _document(data)
    names = tuple(str(one["name"]) for one in content["classes"])
    return names, {str(name): float(value) for name, value in content["milliseconds_per_image"].items()}
