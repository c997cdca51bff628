"""Finds the run that a bare `--resume` means: the newest that was interrupted, or else the newest of all."""

from __future__ import annotations

from pathlib import Path

from onelook.errors import RunFolderError
from onelook.runs.folds_folder import FoldsFolder
from onelook.runs.own_checkpoints import has_checkpoint
from onelook.runs.run_dir import RunDir


def newest_run(project: Path) -> Path:
    """The folder below `project` of the newest interrupted run, or trainings on folds; if none, of the newest run.

    Which is newest is what the runs say themselves; only those of older versions are dated by their files.

    Raises:
        RunFolderError: there is none that can be resumed.
    """
    folders = {path.parent for path in project.glob("**/status.json")}
    folders |= {path.parent.parent for path in project.glob("**/weights/last.safetensors")}
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
