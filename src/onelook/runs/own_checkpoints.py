"""The checkpoints in a run folder that are those of its run: an earlier run may have left others there."""

from __future__ import annotations

import logging
from pathlib import Path

from onelook.errors import CheckpointError
from onelook.runs.checkpoint import Checkpoint, load_checkpoint, run_id_in, run_id_of
from onelook.runs.run_dir import RunDir

logger = logging.getLogger(__name__)


def has_checkpoint(run: RunDir) -> bool:
    """Whether `last` or `previous` holds a state of the very run that the folder belongs to now."""
    return any(_is_own(run, run_id_of(path)) for path in (run.last, run.previous))


def _is_own(run: RunDir, run_id: str | None) -> bool:
    """Whether a checkpoint that names the run `run_id` may be one of `run`; a folder without a record owns all."""
    record = run.record
    return run_id is not None and (not record.state or run_id == record.run_id)


def load_newest(run: RunDir) -> Checkpoint:
    """The newest state of a run that is whole: `last`, or `previous` with a warning if `last` is damaged.

    Raises:
        CheckpointError: neither can be read, or they are those of another run; both reasons are given.
    """
    try:
        return load_own(run, run.last)
    except CheckpointError as problem:
        if not run.previous.is_file():
            raise
        try:
            checkpoint = load_own(run, run.previous)
        except CheckpointError as second:
            raise CheckpointError(f"{problem.message}; and {second.message}", hint="start a new run") from second
        logger.warning("%s; resuming from `%s`", problem.message, run.previous)
        return checkpoint


def load_own(run: RunDir, path: Path) -> Checkpoint:
    """A checkpoint in the folder of a run, if it is one of this run.

    Raises:
        CheckpointError: it cannot be read, or an earlier run has left it in the folder.
    """
    checkpoint = load_checkpoint(path)
    if not _is_own(run, run_id_in(checkpoint.document)):
        begun = f", which began on {run.record.began}," if run.record.began else ""
        raise CheckpointError(
            f"checkpoint `{path}` is of an earlier run in this folder; the last run{begun} has not saved one",
            hint=f"start a new run; `--weights {path}` begins with what the earlier one had learned",
        )
    return checkpoint
