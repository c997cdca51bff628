"""The initial population: files of hyperparameters that are tried before the search goes its own way."""

from __future__ import annotations

from pathlib import Path

from onelook.errors import SettingsError
from onelook.search.genes import GENES, Individual, in_range
from onelook.settings.build import build_settings
from onelook.settings.hyperparameters import Hyperparameters


def read_population(folder: Path, start: Individual) -> tuple[Individual, ...]:
    """The hyperparameters of every YAML file in `folder`, by name of the file.

    Args:
        folder: its sub-folders are not searched.
        start: what holds for hyperparameters that a file does not give.

    Raises:
        SettingsError: there is no such file, or one has an unknown or impossible setting.
    """
    files = sorted(path for pattern in ("*.yaml", "*.yml") for path in folder.glob(pattern) if path.is_file())
    if not files:
        raise SettingsError(
            f"setting `evolve_population` is `{folder}`, where no YAML file is",
            hint="name a folder with files of hyperparameters, such as `hyp_evolve.yaml` of other searches",
        )
    return tuple(_individual(path, start) for path in files)


def _individual(path: Path, start: Individual) -> Individual:
    settings = build_settings(Hyperparameters, {}, file=path)
    given = {name: getattr(settings, name) for name in settings.model_fields_set if name in GENES}
    return in_range(start | {name: value for name, value in given.items() if name in start})
