"""Everything that is settled before a search tries its first hyperparameters, or resumes."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onelook.errors import RunFolderError, SettingsError
from onelook.files.atomic import write_text_atomic
from onelook.files.yaml import dump_yaml, load_yaml
from onelook.processes.launch_env import is_launched
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.split_images import training_splits
from onelook.recipes.start import check_start
from onelook.runs.run_dir import RunDir
from onelook.search.folder import SearchFolder
from onelook.search.genes import GENES, Individual, in_range
from onelook.search.population import read_population
from onelook.search.remote_history import Bucket
from onelook.search.search import Plan
from onelook.settings.build import build_settings, stored_settings
from onelook.settings.command_line import as_arguments
from onelook.settings.evolve import EvolveSettings
from onelook.settings.hyperparameters import Hyperparameters
from onelook.settings.series import FREE, names_of, resume_settings, storable, trial_names
from onelook.settings.train import TrainSettings
from onelook.training.auto_settings import settle
from onelook.training.families import family_of
from onelook.training.weights import definition_of

logger = logging.getLogger(__name__)

INSTALL = 'pip install "onelook[tune]"'
DEFAULT_ANCHORS = 3.0


@dataclass(frozen=True)
class PreparedSearch:
    """A search that is ready to begin or to resume.

    Attributes:
        settings: with the method, the optimiser and the batch that the trials use.
        plan: what is tried.
        folder: of the search.
        fingerprints: of the data.
        bucket: to exchange trials through, if there is one.
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
        """Those that are the same in all trials."""
        return {name: getattr(self.settings, name) for name in Hyperparameters.model_fields if name not in self.start}

    @property
    def storage(self) -> str:
        """Where Optuna keeps the study."""
        return self.settings.evolve_storage or str(self.folder.journal)

    def training_settings(self) -> dict[str, Any]:
        """What all trials have in common with a training."""
        return {
            name: getattr(self.settings, name)
            for name in TrainSettings.model_fields
            if name in storable(TrainSettings, {name: None}) and name not in self.start
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


def prepare_search(given: Mapping[str, Any], file: Path | None, stop: StopSignal) -> PreparedSearch:
    """Settle everything; the folder comes last, so that a search that is refused leaves nothing behind.

    Raises:
        OnelookError: a setting or the data cannot be used, or there is no search to resume.
        StopRequested: `stop` was set.
    """
    if is_launched():
        raise SettingsError(
            "a search trains on one device at a time and was started by a launcher of many processes",
            hint="start it without `torchrun`, once per device, with `--evolve-storage` naming the same storage",
        )
    settings = build_settings(EvolveSettings, given, file=file)
    if settings.name == "cfg":
        settings = settings.model_copy(update={"name": Path(settings.cfg or settings.weights).stem or "exp"})
    earlier = _earlier(settings)
    if earlier is not None:
        settings = _going_on(earlier, settings)
    settings = settings.model_copy(update={"evolve_method": _method(settings)})
    check_start(settings)
    splits = training_splits(settings, {}, stop=stop)
    settled = _settled(settings, len(splits.scans["train"].index))
    plan = _plan(settled)
    bucket = Bucket(settled.bucket, defaults=plan.firsts[0]) if settled.bucket else None
    folder = earlier or SearchFolder(
        RunDir.create(settings.project, settings.name, exist_ok=settings.exist_ok or settings.resume is True).path
    )
    prepared = PreparedSearch(settled, plan, folder, splits.fingerprints(), bucket)
    if earlier is None:
        _remember(prepared, settings)
    elif load_yaml(folder.fingerprints, error=RunFolderError) != prepared.fingerprints:
        raise RunFolderError(
            f"the images or labels of `{settings.data}` have changed since search `{folder.path}` began",
            hint="put them back, or start a new search",
        )
    return prepared


def _earlier(settings: EvolveSettings) -> SearchFolder | None:
    """The search to resume; None to begin one."""
    place = settings.resume_evolve or (settings.resume if isinstance(settings.resume, str) else "")
    if place:
        path = Path(place)
        folder = SearchFolder(path.parent if path.is_file() else path)
        if not folder.settings.is_file() or not folder.fingerprints.is_file():
            raise RunFolderError(
                f"`{place}` is not the folder of a search: it lacks `{folder.settings.name}` or "
                f"`{folder.fingerprints.name}`",
                hint="name a folder such as `runs/evolve/exp`",
            )
        return folder
    folder = SearchFolder(settings.project / settings.name)
    is_wanted = settings.resume is True or settings.exist_ok
    return folder if is_wanted and folder.fingerprints.is_file() else None


def _going_on(folder: SearchFolder, typed: EvolveSettings) -> EvolveSettings:
    """The settings of an earlier search, with what was typed now and may change.

    Raises:
        SettingsError: what was typed would change what hyperparameters are worth.
    """
    stored = load_yaml(folder.settings, error=RunFolderError)
    before = stored_settings(EvolveSettings, stored)
    if typed.evolve_method == "auto":
        typed = typed.model_copy(update={"evolve_method": before.evolve_method})
    settings = resume_settings(before, typed, series="search")
    lost = folder.history.is_file() and before.evolve_method == "optuna" and not folder.journal.is_file()
    if lost and not settings.evolve_storage:
        raise SettingsError(
            f"search `{folder.path}` keeps its trials elsewhere, and its folder cannot say where",
            hint="give the same `--evolve-storage` as before",
        )
    return settings


def _method(settings: EvolveSettings) -> str:
    """The method, Optuna if that is there and nothing else was asked for.

    Raises:
        SettingsError: Optuna is asked for and not installed.
    """
    if settings.evolve_method == "genetic" or find_spec("optuna") is not None:
        return "optuna" if settings.evolve_method == "auto" else settings.evolve_method
    if settings.evolve_method == "optuna" or settings.evolve_storage:
        raise SettingsError("the search by Optuna needs the package `optuna`, which is not installed", hint=INSTALL)
    logger.info("optuna is not installed: the genetic search takes its place, which needs more epochs (%s)", INSTALL)
    return "genetic"


def _settled(settings: EvolveSettings, num_images: int) -> EvolveSettings:
    """The settings with what a training of this length chooses: the search sets out from what a plain run would use."""
    if settings.batch_size < 1:
        raise SettingsError(
            f"setting `batch_size` is {settings.batch_size}, which each trial could read differently",
            hint="name a number; a training with `--batch-size -1` finds one that fits",
        )
    settled = settle(settings, num_images)
    assert isinstance(settled, EvolveSettings)
    if settled.evolve_method == "genetic" and "noval" not in settings.model_fields_set:
        settled = settled.model_copy(update={"noval": True})  # it only uses the end of a trial
    return settled


def _plan(settings: EvolveSettings) -> Plan:
    idle = set(family_of(definition_of(settings)).without_effect)
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


def _remember(prepared: PreparedSearch, settings: EvolveSettings) -> None:
    """Write what it takes to resume: what was given, so that all the rest follows from it once more."""
    names = {*storable(EvolveSettings, dict.fromkeys(settings.model_fields_set)), "evolve_method", "name"}
    given = settings.model_dump(mode="json", include=names)
    write_text_atomic(prepared.folder.settings, dump_yaml({name: given[name] for name in sorted(given)}))
    write_text_atomic(prepared.folder.fingerprints, dump_yaml(dict(prepared.fingerprints)))
