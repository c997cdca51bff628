"""Writes `results.csv`, one exact line per epoch, and `speed.csv`, the time and memory of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from onelook.files.atomic import write_text_atomic
from onelook.processes.memory import memory_held
from onelook.structures.results import BRANCH_METRICS, METRICS, RATES
from onelook.training.callback import Callback, CheckpointWritten, EpochEnd, FitEnd, StepEnd

logger = logging.getLogger(__name__)

SPEED_COLUMNS = ("epoch", "train_seconds", "val_seconds", "save_seconds", "train_images_per_second", "memory_mib")


def columns_of(
    loss_columns: Sequence[str], branches: Sequence[str] = (), trained_only: Sequence[str] = ()
) -> tuple[str, ...]:
    """The columns of `results.csv` for these terms of the loss, those of training only, and the branches of the head.

    >>> columns_of(["box"])[:2]
    ('epoch', 'train/box_loss')
    """
    of_branches = BRANCH_METRICS if len(branches) > 1 else ()
    trained = [f"train/{name}_loss" for name in (*loss_columns, *trained_only)]
    validated = [f"val/{name}_loss" for name in loss_columns]
    return ("epoch", *trained, *METRICS, *of_branches, *validated, *RATES)


class ResultsCsv(Callback):
    """Keeps `results.csv` whole and in step with the checkpoints: it is written again, atomically, after each epoch.

    Numbers have all their digits, so that equal runs give equal files; cells of epochs without validation are empty.

    Args:
        history: the rows of the epochs that a resumed run has done before.
        columns: see `columns_of`.

    Raises:
        OSError: the file cannot be written to begin with.
    """

    def __init__(self, path: Path, history: Sequence[dict[str, float]], columns: Sequence[str]) -> None:
        self._path = path
        self._columns = columns
        self._rows = list(history)
        write_text_atomic(path, self._text())

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Add the row of the epoch."""
        self._rows.append(event.row)
        _write_or_warn(self._path, self._text())

    def on_fit_end(self, event: FitEnd) -> None:
        """Write all rows again: a run that was ended early may have been validated after its last epoch."""
        self._rows = list(event.history)
        _write_or_warn(self._path, self._text())

    def _text(self) -> str:
        lines = [",".join(self._columns)]
        lines += [
            ",".join("" if (cell := row.get(column)) is None else repr(cell) for column in self._columns)
            for row in self._rows
        ]
        return "\n".join(lines) + "\n"


class SpeedCsv(Callback):
    """Keeps `speed.csv`; apart from the results, because no two runs take the same time.

    Args:
        path: CSV file; lines of earlier processes of the run are kept.
        memory: bytes that the run holds.
    """

    def __init__(self, path: Path, *, memory: Callable[[], int | None] = memory_held) -> None:
        self._path = path
        self._memory = memory
        self._num_images = 0
        self._save_seconds = 0.0
        before = path.read_text(encoding="utf-8", errors="replace").splitlines()[1:] if path.is_file() else []
        self._lines = [",".join(SPEED_COLUMNS), *before]

    def on_step_end(self, event: StepEnd) -> None:
        """Count the images of the batch."""
        self._num_images += event.num_images

    def on_checkpoint_written(self, event: CheckpointWritten) -> None:
        """Count the seconds that saving took."""
        self._save_seconds += event.seconds

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Add the line of the epoch, or of the part of it that this process has done."""
        rate = self._num_images / max(event.train_seconds, 1e-9)
        seconds = event.train_seconds, event.val_seconds, self._save_seconds
        held = self._memory()
        memory = "" if held is None else f"{held / 2**20:.0f}"
        self._lines.append(f"{event.epoch},{','.join(f'{value:.3f}' for value in seconds)},{rate:.2f},{memory}")
        self._num_images, self._save_seconds = 0, 0.0
        _write_or_warn(self._path, "\n".join(self._lines) + "\n")


def _write_or_warn(path: Path, text: str) -> None:
    """A disk that is full for a while costs no line: the next epoch writes all of them again."""
    try:
        write_text_atomic(path, text)
    except OSError as problem:
        logger.warning("`%s` was not written: %s; the next epoch tries again", path, problem.strerror or problem)
