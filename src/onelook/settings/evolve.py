"""Every option of a search of hyperparameters. The text under each field is `--help`, reference page and comment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from onelook.errors import SettingsError
from onelook.settings.series import FREE, OUTSIDE, PLACE, resumed
from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import TrainSettings


class SearchSettings(StrictSettings):
    """How hyperparameters are searched: options of `onelook evolve`, and of `onelook train`."""

    model_config = ConfigDict(title="search")

    evolve: int = Field(0, ge=0, lt=2**31, json_schema_extra=resumed(FREE, bare=300))
    """Number of trials of a search of hyperparameters, each a training run; 0 trains once."""
    evolve_method: Literal["auto", "optuna", "genetic"] = Field("auto")
    """Optuna's search, which ends bad trials early, or the genetic one; auto is optuna if that is installed."""
    evolve_population: str = Field("")
    """Folder of hyperparameter YAMLs to try first, after the starting point."""
    resume_evolve: str = Field("", json_schema_extra=resumed(PLACE))
    """Resume an earlier search: its folder, or a file in it; the command may raise the number of trials."""
    evolve_storage: str = Field("", json_schema_extra=resumed(OUTSIDE))
    """Where Optuna keeps the search: a file, or the URL of an SQL database; empty takes a file in the run folder."""
    bucket: str = Field("", json_schema_extra=resumed(OUTSIDE))
    """Folder to exchange evolve.csv with other searches: s3://..., gs://..., any fsspec URL, or a path."""


class EvolveSettings(SearchSettings, TrainSettings):
    """All settings of `onelook evolve`; those of training apply to every trial."""

    model_config = ConfigDict(title="search")

    evolve: int = Field(300, ge=1, lt=2**31, json_schema_extra=resumed(FREE, bare=300))
    """Number of trials, each a training run."""
    project: Path = Field(Path("runs/evolve"), json_schema_extra=resumed(PLACE))
    """Folder of the run folders."""

    @model_validator(mode="after")
    def _refuse_what_a_search_cannot_do(self) -> EvolveSettings:
        if self.evolve_method == "genetic" and self.evolve_storage:
            raise SettingsError(
                "setting `evolve_storage` has no effect on the genetic search, which keeps evolve.csv only",
                hint="drop it, or use `--evolve-method optuna`",
            )
        if self.time:
            raise SettingsError(
                "setting `time` has no meaning in a search: trials of different lengths cannot be compared",
                hint="use `--epochs`",
            )
        if self.batch_size < 1:
            raise SettingsError(
                f"setting `batch_size` is {self.batch_size}, which each trial could read differently",
                hint="name a number; a training with `--batch-size -1` finds one that fits",
            )
        if "," in self.device or self.nproc > 1:
            raise SettingsError(
                f"a search trains on one device at a time, not on `device: {self.device}`, `nproc: {self.nproc}`",
                hint="start the same command once per device, with `--evolve-storage` naming the same storage",
            )
        return self
