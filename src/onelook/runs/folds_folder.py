"""The folder of trainings on folds: the names of the files in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onelook.runs.run_dir import FileIn, RunDir


@dataclass(frozen=True)
class FoldsFolder:
    """Where trainings on folds keep everything."""

    path: Path

    beginning = FileIn("folds.yaml")
    """What the user gave, and digests of the content of the data: all that it takes to resume."""
    table = FileIn("folds.csv")
    """One line per fold, then mean and standard deviation."""
    document = FileIn("folds.json")
    """All numbers, per class too, with settings and machine."""

    def fold(self, number: int) -> RunDir:
        """The run folder of a fold; they count from 1."""
        return RunDir(self.path / f"fold{number}")

    def begun(self) -> list[Path]:
        """The run folders of all folds whose training has begun."""
        paths: list[Path] = []
        while (path := self.fold(len(paths) + 1).path).is_dir():
            paths.append(path)
        return paths


def folds_folder_around(path: Path) -> FoldsFolder | None:
    """The folder of trainings on folds that `path` is or lies in: the folder, a run folder or a checkpoint in it."""
    if not path.exists():
        return None
    inside = (path, path.parent) if path.is_dir() else (path.parent, path.parent.parent, path.parent.parent.parent)
    found = (FoldsFolder(folder) for folder in inside)
    return next((folder for folder in found if folder.beginning.is_file()), None)
