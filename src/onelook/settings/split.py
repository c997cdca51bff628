"""Every option of the split of a dataset. The text under each field is `--help`, reference page and comment."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from onelook.errors import SettingsError
from onelook.settings.strict_settings import StrictSettings

FOLDER = "folder"


class SplitSettings(StrictSettings):
    """All settings of `onelook split`."""

    data: Path
    """Dataset YAML, whose splits are pooled and split again; or a folder of images, searched recursively."""
    output: Path
    """New folder for the lists of images and the dataset YAML; images and labels stay where they are."""
    fractions: list[float] = Field([0.8, 0.2], min_length=2, max_length=3)
    """Fractions of train, val and test, which add up to 1; two numbers give no test split."""
    folds: int = Field(0, ge=0, le=100)
    """Make this many datasets for cross-validation, 2 or more: each image is in the validation split of just one."""
    stratify: bool = Field(False)
    """Split each class by the fractions, as closely as possible; without it, a hash of the name decides."""
    group: str = Field("")
    """Keep images together: `folder` those of a folder; or a regular expression, those whose first match is equal."""
    near: int = Field(6, ge=-1, le=7)
    """Keep identical images and near-duplicates together; see `onelook check`. -1 compares no images."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Random seed of the split."""

    @field_validator("fractions")
    @classmethod
    def _whole(cls, fractions: list[float]) -> list[float]:
        if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] == 0 or fractions[1] == 0:
            raise SettingsError(
                f"`fractions` are {' '.join(f'{part:g}' for part in fractions)}",
                hint="give parts above 0 of train and val, and one of test if wanted, that add up to 1: 0.7 0.2 0.1",
            )
        return fractions

    @field_validator("folds")
    @classmethod
    def _several(cls, folds: int) -> int:
        if folds == 1:
            raise SettingsError("`folds` is 1, but each fold is validated on while the others train", hint="5 is usual")
        return folds

    @field_validator("group")
    @classmethod
    def _expression(cls, group: str) -> str:
        try:
            re.compile(group)
        except re.error as problem:
            raise SettingsError(
                f"`group` is `{group}`, which is not a regular expression: {problem}",
                hint="try `folder`, or `(.*)_\\d+`",
            ) from problem
        return group

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> SplitSettings:
        if self.folds and "fractions" in self.model_fields_set:
            raise SettingsError("setting `fractions` has no effect with `folds`", hint="drop one of them")
        return self
