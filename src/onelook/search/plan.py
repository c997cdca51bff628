"""The plan of a search: its method, its trials and where it starts, from its settings."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onelook.errors import SettingsError
from onelook.search.folder import SearchFolder
from onelook.search.genes import GENES, Individual, in_range
from onelook.search.remote_history import Bucket
from onelook.settings.build import build_settings
from onelook.settings.command_line import as_arguments
from onelook.settings.evolve import EvolveSettings
from onelook.settings.hyperparameters import Hyperparameters
from onelook.settings.series import FREE, names_of, storable, trial_names
from onelook.settings.train import TrainSettings
from onelook.training.families import family_of
from onelook.training.weights import definition_of

logger = logging.getLogger(__name__)

INSTALL = 'pip install "onelook[tune]"'
DEFAULT_ANCHORS = 3.0


@dataclass(frozen=True)
class Plan:
    """What a search tries.

    Attributes:
        epochs: epochs of a complete trial.
        firsts: the first trials: the starting point, then the initial population; within the ranges.
    """

    trials: int
    seed: int
    epochs: int
    firsts: tuple[Individual, ...]

    def individual(self, params: Mapping[str, float]) -> Individual:
        """`params`, and the starting point for all others."""
        return in_range({**self.firsts[0], **params})


@dataclass(frozen=True)
class PreparedSearch:
    """A search that is ready to begin or to resume.

    Attributes:
        settings: with the method, the optimiser and the batch size that the trials use.
        bucket: where trials are shared with other searches, if anywhere.
    """

    settings: EvolveSettings
    plan: Plan
    folder: SearchFolder
    fingerprints: Mapping[str, str]
    bucket: Bucket | None

    @property
    def start(self) -> Individual:
        """The hyperparameters that are tried first."""
        return self.plan.firsts[0]

    @property
    def fixed_hyperparameters(self) -> dict[str, float | bool]:
        """The hyperparameters that are the same in all trials."""
        return {name: getattr(self.settings, name) for name in Hyperparameters.model_fields if name not in self.start}

    @property
    def storage(self) -> str:
        """Where Optuna keeps the study."""
        return self.settings.evolve_storage or str(self.folder.journal)

    def training_settings(self) -> dict[str, Any]:
        """The training settings that all trials share."""
        return {
            name: getattr(self.settings, name)
            for name in storable(TrainSettings, TrainSettings.model_fields)
            if name not in self.start
        }

    def identity(self) -> dict[str, Any]:
        """What searches that share one storage must agree on; plain JSON."""
        names = set(self.training_settings()) - names_of(EvolveSettings, FREE) - trial_names(EvolveSettings)
        settings = self.settings.model_dump(mode="json", include=names)
        firsts = [dict(genes) for genes in self.plan.firsts]
        return {**settings, "epochs": self.plan.epochs, "fingerprints": dict(self.fingerprints), "firsts": firsts}

    def command(self) -> str:
        """The command that trains with the best hyperparameters and otherwise as the trials did."""
        defaults = {name: field.default for name, field in TrainSettings.model_fields.items()}
        other = Hyperparameters.model_fields.keys() | trial_names(TrainSettings)
        common = self.training_settings().items()
        given = {name: value for name, value in common if name not in other and value != defaults[name]}
        words = as_arguments({"data": self.settings.data, "hyp": self.folder.hyp, **given})
        return shlex.join(["onelook", "train", *words])


def method_of(settings: EvolveSettings) -> str:
    """The method; `auto` takes Optuna if it is installed.

    Raises:
        SettingsError: Optuna is required and not installed.
    """
    if settings.evolve_method == "genetic" or find_spec("optuna") is not None:
        return "optuna" if settings.evolve_method == "auto" else settings.evolve_method
    if settings.evolve_method == "optuna" or settings.evolve_storage:
        raise SettingsError("the search by Optuna needs the package `optuna`, which is not installed", hint=INSTALL)
    logger.info("optuna is not installed: using the genetic search, which needs more epochs (%s)", INSTALL)
    return "genetic"


def plan_of(settings: EvolveSettings) -> Plan:
    """The plan for these settings; genes without effect on the model are left out."""
    idle = set(family_of(definition_of(settings)).ignored(has_second_branch=not settings.no_one))
    if settings.noautoanchor:
        idle.add("anchors")
    values = {name: float(getattr(settings, name)) for name in GENES if name not in idle}
    if "anchors" in values and round(values["anchors"]) == 0:
        values["anchors"] = DEFAULT_ANCHORS
    start = in_range(values)
    for name, value in start.items():
        if not GENES[name].low <= values[name] <= GENES[name].high:
            logger.warning("`%s` %g lies outside of what is searched: starting from %g", name, values[name], value)
    population = settings.evolve_population
    others = read_population(Path(population), start) if population else ()
    return Plan(settings.evolve, settings.seed, settings.epochs, (start, *others))


def read_population(folder: Path, start: Individual) -> tuple[Individual, ...]:
    """The hyperparameters of every YAML file in `folder`, in the order of the names.

    Args:
        folder: sub-folders are not searched.
        start: values of hyperparameters that a file does not give.

    Raises:
        SettingsError: there is no such file, or one has an unknown or invalid setting.
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
