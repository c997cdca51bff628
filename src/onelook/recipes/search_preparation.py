"""Everything that is settled before a search tries its first hyperparameters, or resumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onelook.data.split_images import training_splits
from onelook.errors import RunFolderError, SettingsError
from onelook.files.atomic import write_text_atomic
from onelook.files.yaml import dump_yaml, load_yaml
from onelook.processes.launch_env import is_launched
from onelook.processes.stop_signal import StopSignal
from onelook.runs.run_dir import RunDir
from onelook.search.folder import SearchFolder
from onelook.search.plan import PreparedSearch, method_of, plan_of
from onelook.search.remote_history import Bucket
from onelook.settings.build import build_settings, stored_settings
from onelook.settings.evolve import EvolveSettings
from onelook.settings.series import named_after_model, resume_settings, storable
from onelook.training.auto_settings import settle
from onelook.training.families import family_of
from onelook.training.start import check_start, inputs_of
from onelook.training.weights import definition_of


def prepare_search(given: Mapping[str, Any], file: Path | None, stop: StopSignal) -> PreparedSearch:
    """Settle everything; the folder comes last, so that a search that is refused leaves nothing behind.

    Raises:
        OnelookError: a setting or the data cannot be used, or there is no search to resume.
    """
    if is_launched():
        raise SettingsError(
            "a search trains on one device at a time and was started by a launcher of many processes",
            hint="start it without `torchrun`, once per device, with `--evolve-storage` naming the same storage",
        )
    settings = named_after_model(build_settings(EvolveSettings, given, file=file))
    earlier = _earlier(settings)
    if earlier is not None:
        settings = _resumed_settings(earlier, settings)
    settings = settings.model_copy(update={"evolve_method": method_of(settings)})
    check_start(settings)
    splits = training_splits(settings, {}, stop=stop)
    settled = _settled(settings, len(splits.scans["train"].index), len(splits.names))
    plan = plan_of(settled)
    bucket = Bucket(settled.bucket, defaults=plan.firsts[0]) if settled.bucket else None
    is_shared = settings.exist_ok or settings.resume is True
    folder = earlier or SearchFolder(
        RunDir.create(settings.project, settings.name, exist_ok=is_shared, inputs=inputs_of(settings)).path
    )
    prepared = PreparedSearch(settled, plan, folder, splits.fingerprints(), bucket)
    if earlier is None:
        _remember(prepared, settings)
    elif load_yaml(folder.fingerprints, error=RunFolderError) != prepared.fingerprints:
        raise RunFolderError(
            f"the images or labels of `{settings.data}` have changed since search `{folder.path}` began",
            hint="restore them, or start a new search",
        )
    return prepared


def _earlier(settings: EvolveSettings) -> SearchFolder | None:
    """The search to resume; None to begin one."""
    given = settings.resume_evolve or (settings.resume if isinstance(settings.resume, str) else "")
    if given:
        path = Path(given)
        folder = SearchFolder(path.parent if path.is_file() else path)
        if not folder.settings.is_file() or not folder.fingerprints.is_file():
            raise RunFolderError(
                f"`{given}` is not the folder of a search: it lacks `{folder.settings.name}` or "
                f"`{folder.fingerprints.name}`",
                hint="name a folder such as `runs/evolve/exp`",
            )
        return folder
    folder = SearchFolder(settings.project / settings.name)
    is_wanted = settings.resume is True or settings.exist_ok
    return folder if is_wanted and folder.fingerprints.is_file() else None


def _resumed_settings(folder: SearchFolder, typed: EvolveSettings) -> EvolveSettings:
    """The settings of an earlier search, with what was typed now and may change."""
    stored = load_yaml(folder.settings, error=RunFolderError)
    before = stored_settings(EvolveSettings, stored)
    if typed.evolve_method == "auto":
        typed = typed.model_copy(update={"evolve_method": before.evolve_method})
    settings = resume_settings(before, typed, series="search", folder=folder.path)
    lost = folder.history.is_file() and before.evolve_method == "optuna" and not folder.journal.is_file()
    if lost and not settings.evolve_storage:
        raise SettingsError(
            f"search `{folder.path}` keeps its trials elsewhere, and its folder cannot say where",
            hint="give the same `--evolve-storage` as before",
        )
    return settings


def _settled(settings: EvolveSettings, num_images: int, num_classes: int) -> EvolveSettings:
    """The settings with what a training of this length chooses: the search sets out from what a plain run would use."""
    settled = settle(settings, num_images, family_of(definition_of(settings)), num_classes=num_classes)
    assert isinstance(settled, EvolveSettings)
    if settled.evolve_method == "genetic" and "noval" not in settings.model_fields_set:
        settled = settled.model_copy(update={"noval": True})  # it only uses the end of a trial
    return settled


def _remember(prepared: PreparedSearch, settings: EvolveSettings) -> None:
    """Write what it takes to resume: what was given, so that all the rest follows from it once more."""
    names = {*storable(EvolveSettings, dict.fromkeys(settings.model_fields_set)), "evolve_method", "name"}
    given = settings.model_dump(mode="json", include=names)
    write_text_atomic(prepared.folder.settings, dump_yaml({name: given[name] for name in sorted(given)}))
    write_text_atomic(prepared.folder.fingerprints, dump_yaml(dict(prepared.fingerprints)))
