"""The folder of a search: the names of the files in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onelook.runs.run_dir import FileIn, RunDir


@dataclass(frozen=True)
class SearchFolder:
    """The folder and its files."""

    path: Path

    settings = FileIn("settings.yaml")
    """Settings of the user, to resume the search."""
    fingerprints = FileIn("fingerprints.yaml")
    """Digests of the dataset: results on another one cannot be compared."""
    history = FileIn("evolve.csv")
    """One line per trial."""
    hyp = FileIn("hyp_evolve.yaml")
    """The best hyperparameters so far."""
    image = FileIn("evolve.png")
    """Fitness against each hyperparameter."""
    journal = FileIn("study.journal")
    """Optuna's storage, unless `evolve_storage` names another one."""
    trials = FileIn("trials")
    """Folder of the run folders of the trials."""

    def trial(self, number: int) -> RunDir:
        """The run folder of a trial."""
        return RunDir(self.trials / f"{number:04}")
