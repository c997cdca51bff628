"""Everything that is settled before the first of several folds is trained on, or before they are resumed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.data.folds import fold_files, refuse_other_classes, warn_of_repetitions
from onelook.data.split_images import training_splits
from onelook.data.splits import Splits
from onelook.errors import DataError, RunFolderError, SettingsError, combined, counted
from onelook.files.atomic import write_text_atomic
from onelook.files.bounded import printable
from onelook.files.yaml import dump_yaml, load_yaml
from onelook.processes.launch_env import is_launched
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.training_series import quiet
from onelook.runs.folds_folder import FoldsFolder
from onelook.runs.newest_run import folder_to_resume
from onelook.runs.own_checkpoints import has_checkpoint
from onelook.runs.run_dir import RunDir
from onelook.settings.build import build_settings, stored_settings
from onelook.settings.folds import FoldsSettings
from onelook.settings.series import EXTENDS, FREE, KEPT, OUTSIDE, named_after_model, names_of, resume_settings, storable
from onelook.settings.train import TrainSettings
from onelook.training.auto_settings import settle
from onelook.training.families import family_of
from onelook.training.resume import refuse_resume_in_file
from onelook.training.start import inputs_of
from onelook.training.weights import definition_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedFolds:
    """Trainings that are ready to begin or to resume.

    Attributes:
        settings: settings that all folds have in common.
        changed: settings that a resumed fold takes from this call.
        fingerprints: fingerprints of the data, by fold and split.
        is_new: whether this call has begun them.
    """

    settings: FoldsSettings
    changed: Mapping[str, Any]
    data: tuple[Path, ...]
    names: tuple[str, ...]
    folder: FoldsFolder
    fingerprints: Mapping[str, Mapping[str, str]]
    is_new: bool

    def order(self, number: int) -> dict[str, Any]:
        """What to give to a training on a fold, which begins or resumes."""
        data, run = self.data[number - 1], self.folder.fold(number)
        if has_checkpoint(run):
            return {**self.changed, "data": data, "resume": str(run.path)}
        place = {"data": data, "project": self.folder.path, "name": run.path.name, "exist_ok": True}
        return {**self.training_settings(), **place}

    def training_settings(self) -> dict[str, Any]:
        """What all folds have in common; hyperparameters are numbers, the file that named them may be gone."""
        names = names_of(TrainSettings, KEPT, EXTENDS, FREE, OUTSIDE) - {"data", "hyp"}
        return {name: getattr(self.settings, name) for name in names}


def prepare_folds(given: Mapping[str, Any], file: Path | None, stop: StopSignal) -> PreparedFolds:
    """Settle everything; the folder comes last, so that trainings that are refused leave nothing behind.

    Raises:
        OnelookError: a setting or the data of any fold cannot be used, or there is nothing to resume.
    """
    if is_launched():
        raise SettingsError(
            "trainings on folds start their processes themselves, and were started by a launcher of many processes",
            hint="start them without `torchrun`, and name the devices: `--device 0,1,2,3`, or `--nproc`",
        )
    typed = _typed(given, file)
    earlier = _earlier(given, typed)
    settings = typed if earlier is None else _resumed_settings(earlier, typed)
    if settings.folds is None:
        raise SettingsError("`folds` must be given: the folder that `onelook split --folds` made")
    data = fold_files(settings.folds)
    splits = _read(data, settings, stop)
    fingerprints = {f"fold{number}": of.fingerprints() for number, of in enumerate(splits, start=1)}
    if earlier is not None:
        _refuse_other_data(earlier, fingerprints, splits[0].names, settings.folds)
    num_images, family = len(splits[0].scans["train"].index), family_of(definition_of(settings))
    settled = settle(settings, num_images, family, num_classes=len(splits[0].names))
    assert isinstance(settled, FoldsSettings)
    changeable = names_of(FoldsSettings, FREE, OUTSIDE) - {"data", "folds"}
    changed = {name: getattr(settings, name) for name in typed.model_fields_set & changeable}
    folder = earlier or _new_folder(settled)
    prepared = PreparedFolds(settled, changed, data, splits[0].names, folder, fingerprints, earlier is None)
    if earlier is None:
        _remember(prepared, settings)
    return prepared


def _typed(given: Mapping[str, Any], file: Path | None) -> FoldsSettings:
    if "data" in given:
        raise SettingsError(
            "settings `data` and `folds` cannot be used together: the folds are the data", hint="drop one of them"
        )
    settings = build_settings(FoldsSettings, given, file=file)
    if not given.get("resume"):
        refuse_resume_in_file(settings, file)
    if "data" in settings.model_fields_set:
        logger.info("`data` of file `%s` is not used: `folds` names the data", file)
    return named_after_model(settings)


def _earlier(given: Mapping[str, Any], typed: FoldsSettings) -> FoldsFolder | None:
    """Trainings to resume; None to begin."""
    folder = folder_to_resume(given)
    if isinstance(typed.resume, str) and folder is None:
        raise RunFolderError(
            f"`{printable(typed.resume)}` is not the folder of trainings on folds: it lacks `{FoldsFolder.beginning}`",
            hint="drop `--folds` to resume a single run",
        )
    if folder is None and (typed.resume or typed.exist_ok):
        there = FoldsFolder(typed.project / typed.name)
        folder = there if there.beginning.is_file() else None
    return folder


def _resumed_settings(folder: FoldsFolder, typed: FoldsSettings) -> FoldsSettings:
    """The settings of earlier trainings, with what was typed now; SettingsError if that changes what is learned."""
    stored = load_yaml(folder.beginning, error=RunFolderError).get("settings")
    if not isinstance(stored, dict):
        raise RunFolderError(f"file `{folder.beginning}` has no `settings`", hint="start new trainings")
    stored = storable(FoldsSettings, stored)
    before = stored_settings(FoldsSettings, stored)
    return resume_settings(before, typed, series="series of trainings on folds", folder=folder.path)


def _read(data: Sequence[Path], settings: FoldsSettings, stop: StopSignal) -> list[Splits]:
    """The splits of all folds, without messages: the training on each fold logs its own."""
    found: list[Splits] = []
    problems: list[DataError] = []
    with quiet(logging.CRITICAL):
        for path in data:
            try:
                found.append(training_splits(settings.model_copy(update={"data": path}), {}, stop=stop))
            except DataError as problem:
                problems.append(DataError(f"{path.parent.name}: {problem.message}", hint=problem.hint))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise combined(DataError, "these folds cannot be used:", [problem.message for problem in problems])
    refuse_other_classes(data, found)
    warn_of_repetitions(found)
    count = len({path for of in found for path in of.scans["val"].index.paths})
    logger.info("%d folds of %s in all, %s", len(data), counted(count, "image"), counted(len(found[0].names), "class"))
    return found


def _refuse_other_data(
    folder: FoldsFolder, now: Mapping[str, Mapping[str, str]], names: Sequence[str], place: Path
) -> None:
    before = load_yaml(folder.beginning, error=RunFolderError)
    if before.get("fingerprints") != now or before.get("names", list(names)) != list(names):
        raise RunFolderError(
            f"images, labels or classes of the folds in `{printable(place)}` have changed since "
            f"`{folder.path}` was begun",
            hint="restore them, or start new trainings",
        )


def _new_folder(settings: FoldsSettings) -> FoldsFolder:
    is_shared = settings.exist_ok or settings.resume is True
    read = inputs_of(settings.model_copy(update={"data": settings.folds}))
    folder = FoldsFolder(RunDir.create(settings.project, settings.name, exist_ok=is_shared, inputs=read).path)
    others = folder.begun()
    if others:
        raise RunFolderError(
            f"folder `{folder.path}` has a run `{others[0].name}` that does not belong to these trainings",
            hint="choose another `--name`",
        )
    return folder


def _remember(prepared: PreparedFolds, settings: FoldsSettings) -> None:
    """Write what it takes to resume: what was given, so that all the rest follows from it once more."""
    names = storable(FoldsSettings, dict.fromkeys(settings.model_fields_set)).keys() - {"data"}
    given = settings.model_dump(mode="json", include=set(names))
    content = {
        "settings": {name: given[name] for name in sorted(given)},
        "fingerprints": {fold: dict(of) for fold, of in prepared.fingerprints.items()},
        "names": list(prepared.names),
    }
    write_text_atomic(prepared.folder.beginning, dump_yaml(content))
