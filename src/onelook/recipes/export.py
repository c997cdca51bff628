"""Export of a checkpoint: the table of contents of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.errors import ModelError, OnelookError, combined
from onelook.exports.checked_export import CheckedExport, Exported, frame_of, refuse_layout, refuse_what_cannot_be_done
from onelook.exports.export_data import read_export_data
from onelook.models.fuse import fuse
from onelook.processes.stop_signal import StopSignal
from onelook.processes.threads import limit_threads
from onelook.settings.build import build_settings
from onelook.settings.export import ExportSettings
from onelook.training.weights import load_detector


@dataclass(frozen=True)
class ExportResult:
    """What an export run gives.

    Attributes:
        exports: one per format, in the order asked for.
    """

    exports: tuple[Exported, ...]
    names: tuple[str, ...]


def export(
    given: Mapping[str, Any], *, file: Path | None = None, observer: Callable[[Exported], None] | None = None
) -> ExportResult:
    """Export a checkpoint and compare every export with it.

    An export that differs too much is not kept, but its report is; the other formats are still made.

    Args:
        observer: called for every export that is kept.

    Raises:
        OnelookError: a setting, the weights, the data or a package cannot be used, or an export differs.
        StopRequested: Ctrl-C or SIGTERM; exports made by then are complete.
    """
    settings = build_settings(ExportSettings, given, file=file)
    with StopSignal() as stop:
        work = prepare_export(settings, stop)
        exports: list[Exported] = []
        problems: list[OnelookError] = []
        for name in settings.format:
            stop.check()
            try:
                exports.append(work.export(name))
            except ModelError as problem:
                problems.append(problem)
                continue
            if observer is not None:
                observer(exports[-1])
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise combined(ModelError, "these exports failed:", [problem.message for problem in problems])
    return ExportResult(tuple(exports), work.model.names)


def prepare_export(settings: ExportSettings, stop: StopSignal) -> CheckedExport:
    """Everything that comes before the first export: checks, the model, the data.

    Raises:
        OnelookError: a setting, the weights, the data or a package cannot be used.
    """
    refuse_what_cannot_be_done(settings)
    limit_threads()
    model = fuse(load_detector(settings.weights, head=settings.head))
    refuse_layout(settings, model)
    imgsz_hw = frame_of(settings.imgsz, model)
    data = read_export_data(settings, model, imgsz_hw, stop=stop) if settings.data else None
    return CheckedExport(settings, model, imgsz_hw, data)
