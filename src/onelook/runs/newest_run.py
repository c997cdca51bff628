"""Finds the run that a bare `--resume` means: the newest that was interrupted, or else the newest of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onelook.errors import RunFolderError
from onelook.files.bounded import refuse_impossible
from onelook.runs.folds_folder import FoldsFolder, folds_folder_around
from onelook.runs.own_checkpoints import has_checkpoint
from onelook.runs.run_dir import RunDir
from onelook.settings.train import TrainSettings


def newest_run(project: Path) -> Path:
    """The folder below `project` of the newest interrupted run, or trainings on folds; if none, of the newest run.

    Which is newest is what the runs say themselves; only those of older versions are dated by their files.

    Raises:
        RunFolderError: there is none that can be resumed.
    """
    folders = {path.parent for path in project.glob(f"**/{RunDir.status}")}
    folders |= {path.parent.parent for path in project.glob(f"**/{RunDir.last}")}
    runs = [RunDir(folder) for folder in folders]
    found = sorted(
        (not run.is_finished, _turn(run), run.path)
        for run in runs
        if has_checkpoint(run) or (FoldsFolder(run.path).beginning.is_file() and not run.is_finished)
    )
    if not found:
        raise RunFolderError(
            f"nothing to resume: no run with a checkpoint of its own below `{project}`",
            hint="give the run folder: `--resume runs/train/exp`",
        )
    return found[-1][2]


def _turn(run: RunDir) -> int:
    turn = run.record.turn
    return turn or (run.last.stat().st_mtime_ns // 1_000_000 if run.last.exists() else 0)


def folder_to_resume(given: Mapping[str, Any]) -> FoldsFolder | None:
    """The trainings on folds that `resume` means: their folder, a run in it, or True if the newest run is in one.

    Raises:
        RunFolderError: `resume` is True, and there is no run.
    """
    asked = given.get("resume")
    if not asked or (given.get("folds") and asked is True):
        return None
    project = Path(given.get("project", TrainSettings.model_fields["project"].default))
    if asked is not True:
        refuse_impossible("setting `resume`", str(asked))
    return folds_folder_around(newest_run(project) if asked is True else Path(str(asked)))
