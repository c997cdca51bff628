"""Reports of runs: one page that can be opened anywhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onelook.errors import RunFolderError
from onelook.files.atomic import write_text_atomic
from onelook.files.bounded import printable
from onelook.files.overwriting import refuse_to_replace
from onelook.reports.report import report_page
from onelook.reports.run_record import read_run, read_runs
from onelook.runs.folds_folder import FoldsFolder
from onelook.runs.run_dir import RunDir
from onelook.settings.build import build_settings
from onelook.settings.report import ReportSettings

logger = logging.getLogger(__name__)


def report(given: Mapping[str, Any], *, file: Path | None = None) -> Path:
    """Write a report of one run, or a comparison of several; the path of the page.

    A folder of trainings on folds stands for the runs on all of them.

    Raises:
        SettingsError: a setting is unknown or impossible.
        RunFolderError: a folder holds no run, or the page cannot be written.
    """
    settings = build_settings(ReportSettings, given, file=file)
    runs = [run for path in settings.runs for run in FoldsFolder(path).begun() or [path]]
    text = report_page(read_runs(runs))
    first = RunDir(settings.runs[0])
    usual = first.report if len(runs) == 1 else first.comparison
    path = Path(settings.out) if settings.out else usual
    pages = (first.report.name, first.comparison.name)  # written before
    refuse_to_replace(path, (file for run in runs for file in run.rglob("*") if file.name not in pages))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, text)
    except OSError as problem:
        raise RunFolderError(
            f"report `{printable(path)}` cannot be written: {problem.strerror or problem}",
            hint="choose another place with `--out`",
        ) from problem
    return path


def report_finished_run(run: RunDir) -> None:
    """Write the report of a run that has just ended; whatever goes wrong here, the run is done."""
    again = f"`onelook report {printable(run.path)}` tries again"
    try:
        write_text_atomic(run.report, report_page([read_run(run.path)]))
    except OSError as problem:
        logger.warning("the report was not written: %s; %s", problem.strerror or problem, again)
    except Exception:
        logger.exception("the report was not written; %s", again)
