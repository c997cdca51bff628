"""The folder of a search: the names of the files in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onelook.runs.run_dir import RunDir


@dataclass(frozen=True)
class SearchFolder:
    """Where a search keeps everything."""

    path: Path

    @property
    def settings(self) -> Path:
        """What the user gave, to resume the search."""
        return self.path / "settings.yaml"

    @property
    def fingerprints(self) -> Path:
        """Digests of the content of the data: results on other data could not be compared."""
        return self.path / "fingerprints.yaml"

    @property
    def history(self) -> Path:
        """One line per trial."""
        return self.path / "evolve.csv"

    @property
    def hyp(self) -> Path:
        """The best hyperparameters so far."""
        return self.path / "hyp_evolve.yaml"

    @property
    def image(self) -> Path:
        """Fitness against each hyperparameter."""
        return self.path / "evolve.png"

    @property
    def journal(self) -> Path:
        """Optuna's storage, unless another one is named."""
        return self.path / "study.journal"

    @property
    def trials(self) -> Path:
        """Folder of the run folders of the trials."""
        return self.path / "trials"

    def trial(self, number: int) -> RunDir:
        """The run folder of a trial."""
        return RunDir(self.trials / f"{number:04}")
