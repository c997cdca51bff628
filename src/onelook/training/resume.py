"""Resuming an earlier run: its settings, what may differ, and where it stands."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.data.capacity import available_processors
from onelook.errors import CheckpointError, RunFolderError, SettingsError, counted
from onelook.files.bounded import refuse_impossible
from onelook.processes.launch_env import launch_id, restarts_so_far
from onelook.processes.process_group import ProcessGroup
from onelook.runs.checkpoint import Checkpoint
from onelook.runs.folds_folder import FoldsFolder
from onelook.runs.newest_run import newest_run
from onelook.runs.own_checkpoints import has_checkpoint, load_newest, load_own
from onelook.runs.run_dir import RunDir, run_of_launch
from onelook.settings.build import build_settings, stored_settings
from onelook.settings.series import OUTSIDE, names_of, resume_settings, storable
from onelook.settings.train import TrainSettings
from onelook.training.schedule import at_length
from onelook.training.state import KIND_TRAINING

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resumed:
    """An earlier run, ready to be resumed.

    Attributes:
        done: why there is nothing left to do; empty if there is something.
    """

    settings: TrainSettings
    run: RunDir
    checkpoint: Checkpoint
    done: str = ""


def resume_run(given: Mapping[str, Any]) -> Resumed:
    """The run that `given["resume"]` names: a run folder, a checkpoint in one, or True for the newest.

    Args:
        given: what the user typed; settings that would change what the run learns are refused. What reaches beyond the
            run folder, such as trackers, is taken from here alone: the folder may come from anywhere.

    Raises:
        RunFolderError: there is no such run.
        CheckpointError: it has no whole checkpoint of its own.
        SettingsError: a setting may not be changed.
    """
    asked = given["resume"]
    project = Path(given.get("project", TrainSettings.model_fields["project"].default))
    path = newest_run(project) if asked is True else Path(str(asked))
    run, checkpoint = _open(path)
    if asked is True:
        logger.info("resuming `%s`, the newest %s", path, "run" if run.is_finished else "interrupted run")
    document = checkpoint.document
    if document.get("kind") != KIND_TRAINING:
        raise CheckpointError(
            f"checkpoint `{path}` holds only the averaged weights, not the state of a run",
            hint="resume from `last.safetensors`, or start a new run with `--weights`",
        )
    stored = storable(TrainSettings, document["settings"])
    before = stored_settings(TrainSettings, stored)
    settings = resume_settings(
        before, build_settings(TrainSettings, given, is_part=True), series="run", folder=run.path, extends=True
    )
    if settings.time and "epochs" in given:  # the run gets these epochs, however long they take
        settings = settings.model_copy(update={"time": 0.0})
        document["progress"]["turns"] = []
    _refuse_many_processes(before, given)
    is_whole = run.is_finished and run.best.is_file() and run.metrics_arrays.is_file()
    done = _done(checkpoint, settings) if is_whole else ""
    return Resumed(settings, run, checkpoint, done)


def resumed_everywhere(given: Mapping[str, Any], file: Path | None, group: ProcessGroup) -> Resumed | None:
    """The earlier run to resume, if `given` asks for one, or if this launch began one that was interrupted.

    Process 0 reads it and hands it to the others, which need not see its files.

    Raises:
        OnelookError: see `resume_run`.
    """
    resumed: Resumed | None = None

    def read() -> dict[str, Any] | None:
        nonlocal resumed
        asked = given if given.get("resume") or not restarts_so_far() else _interrupted(given, file)
        if not asked.get("resume"):
            return None
        resumed = resume_run(asked)
        if given.get("resume"):
            warn_of_unread(file)
        return {
            "settings": resumed.settings.model_dump(mode="json"),
            "run": str(resumed.run.path),
            "document": resumed.checkpoint.document,
            "done": resumed.done,
        }

    shared = group.first(read)
    if shared is None:
        return None
    tensors = group.share_tensors(resumed.checkpoint.tensors if resumed is not None else {})
    settings = TrainSettings.model_validate(shared["settings"])
    checkpoint = Checkpoint(tensors, shared["document"])
    return resumed or Resumed(settings, RunDir(Path(shared["run"])), checkpoint, shared["done"])


def refuse_resume_in_file(settings: TrainSettings, file: Path | None) -> None:
    """Refuse the settings of a new run if they ask to resume one: `file` does, since a typed `resume` is followed."""
    if settings.resume:
        raise SettingsError(
            f"setting `resume` in file `{file}` would begin a new run: a run is resumed by its own settings",
            hint="type it: `--resume`, without `--settings`",
        )


def warn_of_unread(file: Path | None) -> None:
    """Say that a file of settings has no effect on a run that is resumed."""
    if file is not None:
        logger.warning("file `%s` is not read: a resumed run has its own settings; type those that may change", file)


def _interrupted(given: Mapping[str, Any], file: Path | None) -> Mapping[str, Any]:
    """What to resume after a restart: the run that this launch has started, if it has a checkpoint."""
    run = run_of_launch(build_settings(TrainSettings, given, file=file).project, launch_id())
    if run is None or not has_checkpoint(run):
        return given
    outside = names_of(TrainSettings, OUTSIDE)
    return {"resume": str(run.path), **{name: value for name, value in given.items() if name in outside}}


def _open(path: Path) -> tuple[RunDir, Checkpoint]:
    refuse_impossible("setting `resume`", path)
    if path.suffix == ".safetensors" and not path.exists():
        raise CheckpointError(
            f"checkpoint `{path}` does not exist",
            hint="give the run folder; only `--save-period` keeps numbered checkpoints",
        )
    if path.is_file():
        if path.parent.name != RunDir.weights.name:
            raise CheckpointError(
                f"checkpoint `{path}` lies outside of a run folder",
                hint="give the run folder; or start a new run with `--weights`",
            )
        run = RunDir.open(path.parent.parent)
        return run, load_own(run, path)
    if FoldsFolder(path).beginning.is_file():
        raise RunFolderError(
            f"`{path}` is the folder of trainings on folds, not of a run",
            hint=f"resume all: `onelook.train_folds(resume={str(path)!r})`",
        )
    run = RunDir.open(path)
    return run, load_newest(run)


def _refuse_many_processes(before: TrainSettings, given: Mapping[str, Any]) -> None:
    """A run folder from elsewhere does not choose how many processes are started here."""
    most = available_processors()
    if before.nproc > most and "nproc" not in given:
        raise SettingsError(
            f"the run was computed in {before.nproc} processes, and this machine has {counted(most, 'processor')}",
            hint=f"say how many to start: `--nproc {most}`, or `--nproc {before.nproc}` all the same",
        )


def _done(checkpoint: Checkpoint, settings: TrainSettings) -> str:
    """Why a finished run is not resumed; empty if more epochs or more patience were given."""
    progress = checkpoint.document["progress"]
    if progress["stopped_early"]:
        patience = settings.patience
        waited = progress["epoch"] - 1 - progress["best_epoch"]
        if patience == 0 or waited < patience:
            progress["stopped_early"] = False
            return ""
        return f"stopped early after epoch {progress['epoch'] - 1}; to wait longer: `--patience {2 * patience}`"
    settings = at_length(settings, progress.get("turns", ()))
    if progress["epoch"] >= settings.epochs:
        more = progress["epoch"] + max(settings.epochs // 2, 1)
        epochs = "epoch" if progress["epoch"] == 1 else f"{progress['epoch']} epochs"
        return f"has finished its {epochs}; to train longer: `--epochs {more}`"
    return ""
