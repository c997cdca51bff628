"""The folder of a search: the names of the files in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onelook.runs.run_dir import FileIn, RunDir


@dataclass(frozen=True)
class SearchFolder:
    """Where a search keeps everything."""

    path: Path

    settings = FileIn("settings.yaml")
    """What the user gave, to resume the search."""
    fingerprints = FileIn("fingerprints.yaml")
    """Digests of the content of the data: results on other data could not be compared."""
    history = FileIn("evolve.csv")
    """One line per trial."""
    hyp = FileIn("hyp_evolve.yaml")
    """The best hyperparameters so far."""
    image = FileIn("evolve.png")
    """Fitness against each hyperparameter."""
    journal = FileIn("study.journal")
    """Optuna's storage, unless another one is named."""
    trials = FileIn("trials")
    """Folder of the run folders of the trials."""

    def trial(self, number: int) -> RunDir:
        """The run folder of a trial."""
        return RunDir(self.trials / f"{number:04}")
