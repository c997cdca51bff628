"""Every option of trainings on folds. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, Field, model_validator

from onelook.errors import SettingsError
from onelook.settings.series import FREE, resumed
from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import TrainSettings


class FoldOptions(StrictSettings):
    """What makes one training several: options of `onelook train`."""

    model_config = ConfigDict(title="folds")

    folds: Path | None = Field(None, json_schema_extra=resumed(FREE))
    """Train on each dataset fold1, fold2, ... that `onelook split --folds` made in this folder, and summarise."""


class FoldsSettings(FoldOptions, TrainSettings):
    """All settings of trainings on folds; those of training apply to every fold."""

    model_config = ConfigDict(title="folds")

    @model_validator(mode="after")
    def _refuse_what_folds_could_read_differently(self) -> FoldsSettings:
        if self.batch_size < 1:
            raise SettingsError(
                f"setting `batch_size` is {self.batch_size}, which each fold could read differently",
                hint="name a number; a training on one fold with `--batch-size -1` finds one that fits",
            )
        if self.time:
            raise SettingsError(
                "setting `time` has no meaning on folds: trainings of different lengths cannot be compared",
                hint="use `--epochs`",
            )
        return self
