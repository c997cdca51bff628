"""Makes sure, before a run in many processes begins, that they are all about to do the same."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import torch

from onelook.errors import SettingsError, combined
from onelook.models.detector import DetectionModel
from onelook.processes.process_group import ProcessGroup
from onelook.recipes.splits import Splits
from onelook.settings.train import TrainSettings

# What may differ from process to process: the part of the command line that says which one it is.
_OWN = {"local_rank"}


def refuse_disagreement(settings: TrainSettings, splits: Splits, model: DetectionModel, group: ProcessGroup) -> None:
    """Compare settings, data, model and code of all processes.

    Raises:
        SettingsError: two processes differ; says which and in what.
    """
    mine = {
        "settings": _digest(settings.model_dump(mode="json", exclude=_OWN)),
        "training and validation data": _digest(splits.fingerprints()),
        "model": _digest(model.definition),
        "Onelook": f"{version('onelook')} {_code_digest() if group.world_size > 1 else ''}",
        "torch": torch.__version__,
    }
    all_of_them = group.gather_values(mine)
    first = all_of_them[0]
    problems = [
        f"{what}: process {rank} differs from process 0"
        for rank, theirs in enumerate(all_of_them)
        for what in first
        if theirs[what] != first[what]
    ]
    if problems:
        raise combined(
            SettingsError,
            "the processes of this run are not about to do the same:",
            problems,
            hint="give all of them the same command, the same files and the same installation",
        )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8")).hexdigest()


def _code_digest() -> str:
    """Of all files of this package."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent.parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode("utf-8") + path.read_bytes())
    return digest.hexdigest()
