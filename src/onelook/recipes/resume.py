"""Going on with an earlier run: its settings, what may differ, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.errors import CheckpointError, RunFolderError, SettingsError, combined
from onelook.processes.launch_env import launch_id, restarts_so_far
from onelook.processes.process_group import ProcessGroup
from onelook.runs.checkpoint import Checkpoint, load_checkpoint
from onelook.runs.folds_folder import FoldsFolder
from onelook.runs.run_dir import RunDir, newest_run, run_of_launch
from onelook.settings.build import build_settings
from onelook.settings.train import TrainSettings
from onelook.training.checkpoint_keeper import load_newest
from onelook.training.state import KIND_TRAINING

# What may be given together with --resume: it changes how the run is done or how long it goes on, not what it learns.
# `data` may have moved; that its content is the same is checked apart.
CHANGEABLE = (
    "data",
    "epochs",
    "patience",
    "device",
    "nproc",
    "micro_batch",
    "hang_timeout",
    "max_restarts",
    "workers",
    "cache",
    "noplots",
    "noreport",
    "nosave",
    "save_interval",
    "save_period",
    "track",
    "entity",
    "upload_dataset",
    "bbox_interval",
    "artifact_alias",
)
# What says where the run is; its folder answers that.
PLACE = ("resume", "project", "name", "exist_ok", "local_rank", "callbacks")


@dataclass(frozen=True)
class Resumed:
    """An earlier run, ready to go on.

    Attributes:
        settings: those of the run, with the changes that were asked for.
        run: its folder.
        checkpoint: its newest state.
    """

    settings: TrainSettings
    run: RunDir
    checkpoint: Checkpoint


def resume_run(given: Mapping[str, Any]) -> Resumed:
    """The run that `given["resume"]` names: a run folder, a checkpoint in one, or True for the newest.

    Args:
        given: what the user typed; settings that would change what the run learns are refused.

    Raises:
        RunFolderError: there is no such run.
        CheckpointError: it has no whole checkpoint, or it is finished and `epochs` does not grow.
        SettingsError: a setting may not be changed.
    """
    place = given["resume"]
    project = Path(given.get("project", TrainSettings.model_fields["project"].default))
    path = newest_run(project) if place is True else Path(str(place))
    run, checkpoint = _open(path)
    if checkpoint.document.get("kind") != KIND_TRAINING:
        raise CheckpointError(
            f"checkpoint `{path}` holds only the averaged weights, not the state of a run",
            hint="resume from `last.safetensors`, or start a new run with `--weights`",
        )
    stored = checkpoint.document["settings"]
    _refuse_changes(stored, given)
    changes = {key: value for key, value in given.items() if key in CHANGEABLE}
    settings = _with_changes(stored, changes)
    _refuse_finished(checkpoint, settings, run)
    return Resumed(settings, run, checkpoint)


def resumed_everywhere(given: Mapping[str, Any], file: Path | None, group: ProcessGroup) -> Resumed | None:
    """The earlier run to go on with, if `given` asks for one, or if this launch began one that was interrupted.

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
        return {
            "settings": resumed.settings.model_dump(mode="json"),
            "run": str(resumed.run.path),
            "document": resumed.checkpoint.document,
        }

    shared = group.first(read)
    if shared is None:
        return None
    tensors = group.share_tensors(resumed.checkpoint.tensors if resumed is not None else {})
    settings = TrainSettings.model_validate(shared["settings"])
    return resumed or Resumed(settings, RunDir(Path(shared["run"])), Checkpoint(tensors, shared["document"]))


def _interrupted(given: Mapping[str, Any], file: Path | None) -> Mapping[str, Any]:
    """What to ask for after a restart: the run that this launch has begun, if it has got as far as a checkpoint."""
    run = run_of_launch(build_settings(TrainSettings, given, file=file).project, launch_id())
    return given if run is None or not run.last.is_file() else {"resume": str(run.path)}


def _open(path: Path) -> tuple[RunDir, Checkpoint]:
    if path.is_file():
        return RunDir.open(path.parent.parent), load_checkpoint(path)
    if FoldsFolder(path).beginning.is_file():
        raise RunFolderError(
            f"`{path}` is the folder of trainings on folds, not of a run",
            hint=f"go on with all: `onelook.train_folds(resume={str(path)!r})`",
        )
    run = RunDir.open(path)
    return run, load_newest(run)


def _with_changes(stored: Mapping[str, Any], changes: Mapping[str, Any]) -> TrainSettings:
    """The settings of the run with changes; the file that `hyp` names may be gone: `stored` has all its numbers."""
    settings = build_settings(TrainSettings, {**stored, **changes, "hyp": ""})
    return settings.model_copy(update={"hyp": str(changes.get("hyp", stored["hyp"]))})


def _refuse_changes(stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    typed = _with_changes(stored, {key: value for key, value in given.items() if key not in PLACE})
    values = typed.model_dump(mode="json")
    problems = [
        f"`{key}` was {stored[key]!r} and would become {values[key]!r}"
        for key in given
        if key in stored and key not in CHANGEABLE and key not in PLACE and values[key] != stored[key]
    ]
    if problems:
        hint = f"start a new run with `--weights`; a resumed one may change {', '.join(CHANGEABLE)}"
        raise combined(SettingsError, "a resumed run cannot change what it learns:", problems, hint=hint)


def _refuse_finished(checkpoint: Checkpoint, settings: TrainSettings, run: RunDir) -> None:
    """A run that was stopped after its last epoch has its best weights still to be measured and drawn."""
    if not run.is_finished:
        return
    progress = checkpoint.document["progress"]
    if progress["stopped_early"]:
        patience = settings.patience
        waited = progress["epoch"] - 1 - progress["best_epoch"]
        if patience == 0 or waited < patience:
            progress["stopped_early"] = False
            return
        raise CheckpointError(
            f"run `{run.path}` stopped early after epoch {progress['epoch'] - 1}",
            hint=f"give it more patience: `--patience {2 * patience}`",
        )
    if progress["epoch"] >= settings.epochs:
        raise CheckpointError(
            f"run `{run.path}` has finished its {progress['epoch']} epochs",
            hint=f"give it more: `--epochs {progress['epoch'] + max(settings.epochs // 2, 1)}`",
        )
