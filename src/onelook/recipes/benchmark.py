"""Size, accuracy and speed of a detector in several formats."""

from __future__ import annotations

import csv
import io
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from onelook.errors import ModelError
from onelook.exports.checked_export import CheckedExport
from onelook.exports.formats import EXPORTERS
from onelook.exports.opening import load_runnable
from onelook.exports.parity import synthetic_images
from onelook.files.atomic import write_text_atomic
from onelook.inference.backend import Backend, TorchBackend
from onelook.models.detector import DetectionModel
from onelook.processes.device import select_device
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.export import prepare_export
from onelook.runs.run_dir import RunDir
from onelook.settings.benchmark import BenchmarkSettings
from onelook.settings.build import build_settings
from onelook.settings.export import ExportSettings
from onelook.training.weights import located

PYTORCH = "pytorch"
WARM_UP = 3
SHARED = ("weights", "head", "format", "data", "imgsz", "batch_size", "half", "int8", "device")


@dataclass(frozen=True)
class BenchmarkRow:
    """One format.

    Attributes:
        format: its name in `EXPORTERS`, or "pytorch" for the model itself.
        megabytes: size of the file or folder; None if the export failed.
        milliseconds: per image, the median of the calls; None if it cannot run here.
        map50_95: 0 to 1; None without data.
        box_px: largest difference of a corner from the model, pixels.
        score: largest difference of a score from the model.
        problem: why there is no export; empty if there is one.
    """

    format: str
    megabytes: float | None = None
    milliseconds: float | None = None
    map50_95: float | None = None
    box_px: float | None = None
    score: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class BenchmarkResult:
    """What a benchmark gives.

    Attributes:
        rows: PyTorch first, then the formats in the order asked for.
        run_folder: folder of the exports, their reports and `benchmark.csv`.
    """

    rows: tuple[BenchmarkRow, ...]
    run_folder: Path


def benchmark(
    given: Mapping[str, Any], *, file: Path | None = None, observer: Callable[[str], None] | None = None
) -> BenchmarkResult:
    """Export a checkpoint to several formats and measure each beside the model itself.

    Args:
        observer: called with a description of each step before it starts.

    Raises:
        OnelookError: a setting, the weights, the data or a package cannot be used.
        StopRequested: Ctrl-C or SIGTERM.
    """
    settings = build_settings(BenchmarkSettings, given, file=file)
    tell = observer or (lambda _: None)
    with StopSignal() as stop:
        work = prepare_export(_export_settings(settings, "."), stop)
        inputs = settings.weights, settings.data
        run = RunDir.create(settings.project, settings.name, exist_ok=settings.exist_ok, inputs=inputs)
        work = replace(work, settings=_export_settings(settings, str(run.path)))
        rows = {PYTORCH: BenchmarkRow(PYTORCH, located(settings.weights).stat().st_size / 1e6)}
        running: dict[str, Backend] = {PYTORCH: TorchBackend(work.model, select_device(settings.device))}
        for name in settings.format:
            stop.check()
            tell(f"exporting to {name}")
            rows |= _exported(name, work, rows)
            if not rows[name].problem and EXPORTERS[name].runs_here:
                path = run.path / f"{settings.weights.stem}{EXPORTERS[name].ending}"
                runnable = load_runnable(path, settings.device)
                assert not isinstance(runnable, DetectionModel)
                running[name] = runnable
        tell(f"timing {', '.join(running)}")
        images = synthetic_images(settings.batch_size, work.imgsz_hw, key=0)
        for name, milliseconds in in_turn(running, images, rounds=settings.rounds, stop=stop).items():
            rows[name] = replace(rows[name], milliseconds=milliseconds / settings.batch_size)
    _write(run.path / "benchmark.csv", list(rows.values()))
    return BenchmarkResult(tuple(rows.values()), run.path)


def in_turn(running: Mapping[str, Backend], images: Tensor, *, rounds: int, stop: StopSignal) -> dict[str, float]:
    """Milliseconds of a call, the median; every round calls each once, so that all meet the same disturbances."""
    taken: dict[str, list[float]] = {name: [] for name in running}
    inputs = {name: images.to(backend.device) for name, backend in running.items()}
    for number in range(WARM_UP + rounds):
        stop.check()
        for name, backend in running.items():
            mark = time.perf_counter()
            backend.predict(inputs[name]).cpu()
            if number >= WARM_UP:
                taken[name].append(1000 * (time.perf_counter() - mark))
    return {name: statistics.median(values) for name, values in taken.items()}


def _export_settings(settings: BenchmarkSettings, output: str) -> ExportSettings:
    given = {name: getattr(settings, name) for name in SHARED}
    if settings.data:
        given["workers"] = settings.workers
    return ExportSettings(**given, output=output, allow_mismatch=True, exist_ok=True)


def _exported(name: str, work: CheckedExport, rows: Mapping[str, BenchmarkRow]) -> dict[str, BenchmarkRow]:
    """The row of a format, and that of PyTorch with what was found out about it."""
    try:
        made = work.export(name)
    except ModelError as problem:
        return {name: BenchmarkRow(name, problem=problem.message)}
    compared, cases = made.checks.map_comparison, made.checks.cases
    row = BenchmarkRow(
        name,
        megabytes=made.num_bytes / 1e6,
        map50_95=compared.export if compared else None,
        box_px=max((case.box_px for case in cases), default=None),
        score=max((case.score for case in cases), default=None),
    )
    return {PYTORCH: replace(rows[PYTORCH], map50_95=compared.model if compared else None), name: row}


def _write(path: Path, rows: list[BenchmarkRow]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(BenchmarkRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text_atomic(path, text.getvalue())
