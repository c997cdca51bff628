"""Makes sure, before a run begins, that all its processes do the same, and a resumed run the same as before."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch

from onelook.data.splits import Splits
from onelook.errors import CheckpointError, SettingsError, combined, counted
from onelook.models.detector import DetectionModel
from onelook.processes.process_group import ProcessGroup
from onelook.settings.train import TrainSettings
from onelook.training.resume import Resumed

logger = logging.getLogger(__name__)

# What may differ from process to process: the part of the command line that says which one it is.
_OWN = {"local_rank"}


def refuse_disagreement(settings: TrainSettings, splits: Splits, model: DetectionModel, group: ProcessGroup) -> None:
    """Compare settings, data, model and code of all processes.

    Raises:
        SettingsError: two processes differ; says which and in what.
    """
    mine = {
        "settings": _digest(settings.model_dump(mode="json", exclude=_OWN)),
        "training and validation data": _digest([splits.names, splits.fingerprints()]),
        "model": _digest(model.definition),
        "Onelook": f"{_own_version()} {_code_digest() if group.world_size > 1 else ''}",
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
            "the processes of this run do not agree:",
            problems,
            hint="give all of them the same command, the same files and the same installation",
        )


def refuse_other_data(resumed: Resumed, splits: Splits) -> None:
    """Raise CheckpointError if images, labels or classes have changed since the run was saved."""
    if resumed.checkpoint.document["data"] != splits.fingerprints():
        raise CheckpointError(
            f"the images or labels of `{resumed.settings.data}` have changed since run `{resumed.run.path}` was saved",
            hint="restore them, or start a new run with `--weights`",
        )
    before, now = resumed.checkpoint.document["names"], list(splits.names)
    if before != now:
        changed = next((row for row in enumerate(zip(before, now, strict=False)) if row[1][0] != row[1][1]), None)
        what = f"{counted(len(before), 'class')} then, {len(now)} now"
        if changed is not None and len(before) == len(now):
            what = f"class {changed[0]} was `{changed[1][0]}` and is `{changed[1][1]}`"
        raise CheckpointError(
            f"the classes of `{resumed.settings.data}` have changed since run `{resumed.run.path}` was saved: {what}",
            hint="restore them, or start a new run with `--weights`, which takes over what it knows of each class",
        )


def made_with(device: torch.device, group: ProcessGroup) -> dict[str, str | int]:
    """What the exact result depends on, besides settings and data."""
    return {
        "onelook": _own_version(),
        "torch": torch.__version__,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "processes": group.world_size,
    }


@lru_cache
def _own_version() -> str:
    """Read once: the metadata of the package hold its whole README."""
    return version("onelook")


def warn_of_other_machine(resumed: Resumed, now: Mapping[str, str | int]) -> None:
    """Warn if the run was saved by another version, on other hardware or by other processes."""
    before = resumed.checkpoint.document["made_with"]
    settings = resumed.settings
    # Two numbers have one sum; with more, the order of addition depends on the number of processes, see `gradients.py`.
    two_micro_batches = resumed.checkpoint.document["progress"]["shards"] <= 2
    any_number = (settings.strict_reduce or two_micro_batches) and not settings.sync_bn
    compared = [key for key in now if not (key == "processes" and any_number)]
    changed = [f"{key} {before.get(key)} -> {now[key]}" for key in compared if before.get(key) != now[key]]
    if changed:
        logger.warning(
            "resumed elsewhere (%s): the result is equally good, but not bit for bit the same", ", ".join(changed)
        )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8")).hexdigest()


def _code_digest() -> str:
    """Digest of all files of this package."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent.parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode("utf-8") + path.read_bytes())
    return digest.hexdigest()
