"""Everything that is settled before the first of several folds is trained on, or before they are gone on with."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.errors import DataError, RunFolderError, SettingsError, combined
from onelook.files.atomic import write_text_atomic
from onelook.files.bounded import printable
from onelook.files.yaml import dump_yaml, load_yaml
from onelook.processes.launch_env import is_launched
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.split_images import YAML_NAME, training_splits
from onelook.recipes.splits import Splits
from onelook.recipes.training_series import quiet
from onelook.runs.folds_folder import FoldsFolder, folds_folder_around
from onelook.runs.newest_run import newest_run
from onelook.runs.own_checkpoints import has_checkpoint
from onelook.runs.run_dir import RunDir
from onelook.settings.build import build_settings, stored_settings
from onelook.settings.folds import FoldsSettings
from onelook.settings.series import EXTENDS, FREE, KEPT, OUTSIDE, names_of, resume_settings, storable
from onelook.settings.train import TrainSettings
from onelook.training.auto_settings import settle

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedFolds:
    """Trainings that are ready to begin or to resume.

    Attributes:
        settings: that all folds have in common.
        changed: settings that a fold which is gone on with takes from this call.
        data: the YAML of each fold.
        names: of the classes.
        folder: of all of it.
        fingerprints: of the data, by fold and split.
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


def folder_to_resume(given: Mapping[str, Any]) -> FoldsFolder | None:
    """The trainings on folds that `resume` means: their folder, a run in it, or True if the newest run is in one.

    Raises:
        RunFolderError: `resume` is True, and there is no run.
    """
    place = given.get("resume")
    if not place or (given.get("folds") and place is True):
        return None
    project = Path(given.get("project", TrainSettings.model_fields["project"].default))
    return folds_folder_around(newest_run(project) if place is True else Path(str(place)))


def prepare_folds(given: Mapping[str, Any], file: Path | None, stop: StopSignal) -> PreparedFolds:
    """Settle everything; the folder comes last, so that trainings that are refused leave nothing behind.

    Raises:
        OnelookError: a setting or the data of any fold cannot be used, or there is nothing to resume.
        StopRequested: `stop` was set.
    """
    if is_launched():
        raise SettingsError(
            "trainings on folds start their processes themselves, and were started by a launcher of many processes",
            hint="start them without `torchrun`, and name the devices: `--device 0,1,2,3`, or `--nproc`",
        )
    typed = _typed(given, file)
    earlier = _earlier(given, typed)
    settings = typed if earlier is None else _going_on(earlier, typed)
    if settings.folds is None:
        raise SettingsError("`folds` must be given: the folder that `onelook split --folds` made")
    data = fold_files(settings.folds)
    splits = _read(data, settings, stop)
    fingerprints = {f"fold{number}": of.fingerprints() for number, of in enumerate(splits, start=1)}
    if earlier is not None:
        _refuse_other_data(earlier, fingerprints, settings.folds)
    settled = settle(settings, len(splits[0].scans["train"].index))
    assert isinstance(settled, FoldsSettings)
    changeable = names_of(FoldsSettings, FREE, OUTSIDE) - {"data", "folds"}
    changed = {name: getattr(settings, name) for name in typed.model_fields_set & changeable}
    folder = earlier or _new_folder(settled)
    prepared = PreparedFolds(settled, changed, data, splits[0].names, folder, fingerprints, earlier is None)
    if earlier is None:
        _remember(prepared, settings)
    return prepared


def fold_files(folder: Path) -> tuple[Path, ...]:
    """The YAML files of the folds in `folder`, in their order.

    Raises:
        DataError: it has none or one, or there are gaps between them.
    """
    hint = "`onelook split DATA --folds 5 --output FOLDER` makes such a folder"
    if not folder.is_dir():
        raise DataError(f"folder of folds `{printable(folder)}` does not exist", hint=hint)
    matches = (re.fullmatch(r"fold([1-9]\d{0,5})", entry.name) for entry in folder.iterdir())
    numbers = sorted(int(match[1]) for match in matches if match)
    if not numbers:
        is_fold = folder.absolute().name.startswith("fold") and (folder / YAML_NAME).is_file()
        raise DataError(
            f"folder `{printable(folder)}` has no `fold1/{YAML_NAME}`",
            hint=f"give the folder that holds all folds: `--folds {printable(folder.parent)}`" if is_fold else hint,
        )
    files = [folder / f"fold{number}" / YAML_NAME for number in range(1, max(numbers[-1], 2) + 1)]
    missing = [f"`{printable(file)}`" for file in files if not file.is_file()]
    if missing:
        raise DataError(
            f"folds in `{printable(folder)}` count from 1 without gaps, at least to 2; not there: "
            f"{', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}",
            hint=hint,
        )
    return tuple(files)


def _typed(given: Mapping[str, Any], file: Path | None) -> FoldsSettings:
    if "data" in given:
        raise SettingsError(
            "settings `data` and `folds` cannot be used together: the folds are the data", hint="drop one of them"
        )
    settings = build_settings(FoldsSettings, given, file=file)
    if "data" in settings.model_fields_set:
        logger.info("`data` of file `%s` is not used: `folds` names the data", file)
    if settings.name == "cfg":
        settings = settings.model_copy(update={"name": Path(settings.cfg or settings.weights).stem or "exp"})
    return settings


def _earlier(given: Mapping[str, Any], typed: FoldsSettings) -> FoldsFolder | None:
    """Trainings to resume; None to begin."""
    folder = folder_to_resume(given)
    if isinstance(typed.resume, str) and folder is None:
        raise RunFolderError(
            f"`{printable(typed.resume)}` is not the folder of trainings on folds: it lacks "
            f"`{FoldsFolder(Path()).beginning.name}`",
            hint="drop `--folds` to resume a single run",
        )
    if folder is None and (typed.resume or typed.exist_ok):
        there = FoldsFolder(typed.project / typed.name)
        folder = there if there.beginning.is_file() else None
    return folder


def _going_on(folder: FoldsFolder, typed: FoldsSettings) -> FoldsSettings:
    """The settings of earlier trainings, with what was typed now and may change.

    Raises:
        SettingsError: what was typed would change what is learned.
    """
    stored = load_yaml(folder.beginning, error=RunFolderError).get("settings")
    if not isinstance(stored, dict):
        raise RunFolderError(f"file `{folder.beginning}` has no `settings`", hint="start new trainings")
    stored = storable(FoldsSettings, stored)
    before = stored_settings(FoldsSettings, stored)
    return resume_settings(before, typed, series="series of trainings on folds")


def _read(data: Sequence[Path], settings: FoldsSettings, stop: StopSignal) -> list[Splits]:
    """The splits of all folds, silently: the training on each fold says what is to be said of it.

    Raises:
        DataError: any cannot be used, or their classes differ; all that is wrong is listed.
    """
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
    _refuse_other_classes(data, found)
    _warn_of_repetitions(found)
    count = len({path for of in found for path in of.scans["val"].index.paths})
    logger.info("%d folds of %s images in all, %d classes", len(data), f"{count:,}", len(found[0].names))
    return found


def _refuse_other_classes(data: Sequence[Path], found: Sequence[Splits]) -> None:
    first = found[0].names
    others = [
        f"`{printable(path)}`: {_listed(of.names)}" for path, of in zip(data, found, strict=True) if of.names != first
    ]
    if others:
        title = f"the classes of all folds must be those of `{printable(data[0])}`: {_listed(first)}; but"
        raise combined(DataError, title, others, hint="make the folds again with `onelook split --folds`")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:8])
    return f"{len(names)} ({shown}{', ...' if len(names) > 8 else ''})"


def _warn_of_repetitions(found: Sequence[Splits]) -> None:
    counts = Counter(path for of in found for path in of.scans["val"].index.paths)
    repeated = [path for path, count in counts.items() if count > 1]
    if repeated:
        logger.warning(
            "%s images are validated on in more than one fold, such as `%s`: the folds are not independent",
            f"{len(repeated):,}",
            printable(repeated[0]),
        )


def _refuse_other_data(folder: FoldsFolder, now: Mapping[str, Mapping[str, str]], place: Path) -> None:
    if load_yaml(folder.beginning, error=RunFolderError).get("fingerprints") != now:
        raise RunFolderError(
            f"the images or labels of the folds in `{printable(place)}` have changed since `{folder.path}` was begun",
            hint="put them back, or start new trainings",
        )


def _new_folder(settings: FoldsSettings) -> FoldsFolder:
    is_shared = settings.exist_ok or settings.resume is True
    folder = FoldsFolder(RunDir.create(settings.project, settings.name, exist_ok=is_shared).path)
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
    }
    write_text_atomic(prepared.folder.beginning, dump_yaml(content))
