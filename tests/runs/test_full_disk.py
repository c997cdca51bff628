"""A disk that fills up: training continues, what is on the disk stays whole, and the end says what is missing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoint_content import content_of
from command_runs import Home, run, state_of, texts

from onelook.errors import RunFolderError
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.training.callback import Callback, CheckpointWritten, EpochEnd

EPOCHS = 3


class Disk:
    """Counts what is flushed to the disk, and can be full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self._flush: Callable[[int], None] = os.fsync
        monkeypatch.setattr(os, "fsync", self.flush)

    def flush(self, descriptor: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._flush(descriptor)


class FillAfter(Callback):
    """Fills the disk after the first checkpoint; notes how far the run gets, and frees the disk at an epoch."""

    def __init__(self, disk: Disk, *, free_at: int = EPOCHS) -> None:
        self.disk = disk
        self.free_at = free_at
        self.first: bytes | None = None
        self.epochs: list[int] = []

    def on_checkpoint_written(self, event: CheckpointWritten) -> None:
        if event.path.name == "last.safetensors" and self.first is None:
            self.disk.is_full = True
            self.first = event.path.read_bytes()

    def on_epoch_end(self, event: EpochEnd) -> None:
        self.epochs.append(event.epoch)
        if event.epoch == self.free_at:
            self.disk.is_full = False


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk under this test; saving may take any share of the time."""
    monkeypatch.setattr("onelook.training.checkpoint_keeper.MAX_SHARE", 1e9)
    return Disk(monkeypatch)


def test_training_goes_on_beside_a_full_disk_and_can_be_resumed(
    tiny_settings: dict[str, object], tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {**tiny_settings, "epochs": EPOCHS, "batch_size": 10}
    whole = train({**settings, "project": tmp_path / "whole"}).run_folder
    watch = FillAfter(disk)
    with pytest.raises(RunFolderError, match=r"could not be written below .*No space left") as caught:
        train(settings, callbacks=[watch])
    folder = Path(str(settings["project"])) / "exp"
    assert caught.value.exit_code == 73 and "free some space and resume" in str(caught.value.hint)
    assert watch.epochs == list(range(EPOCHS)), "training continued"
    last = folder / "weights" / "last.safetensors"
    assert last.read_bytes() == watch.first and load_checkpoint(last).tensors, "the old checkpoint is untouched"
    assert not [path for path in folder.rglob("*") if "tmp" in path.name], "no leftovers"
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("best.safetensors` was not written: No space left on device" in text for text in warnings), warnings
    disk.is_full = False
    train({"resume": str(folder)})
    for name in ("weights/last.safetensors", "weights/best.safetensors", "results.csv"):
        assert content_of(folder / name) == content_of(whole / name), name


@pytest.mark.slow  # a second case of the test above
def test_a_disk_that_was_full_for_a_while_costs_nothing(
    tiny_settings: dict[str, object], tmp_path: Path, disk: Disk
) -> None:
    settings = {**tiny_settings, "epochs": EPOCHS, "batch_size": 10}
    whole = train({**settings, "project": tmp_path / "whole"}).run_folder
    folder = train(settings, callbacks=[FillAfter(disk, free_at=1)]).run_folder
    for name in ("weights/last.safetensors", "weights/best.safetensors", "results.csv"):
        assert content_of(folder / name) == content_of(whole / name), name
    assert len((folder / "speed.csv").read_text().splitlines()) == 1 + EPOCHS


@pytest.mark.parametrize("command", ["train", "val", "detect"])
def test_a_run_folder_that_cannot_be_written_is_refused_and_removed(
    command: str, home: Home, capsys: pytest.CaptureFixture[str], disk: Disk
) -> None:
    words = {"train": home.train(), "val": home.val(), "detect": home.detect()}[command]
    before = state_of(home.data), state_of(home.work, with_times=False)
    disk.is_full = True
    outcome = run(words, capsys)
    assert outcome.code == 73
    folder = f"runs/{command}/exp"
    assert outcome.err == (
        f"error: run folder `{folder}` cannot be written: No space left on device\n"
        "hint: choose another place with `--project`, or free some space\n"
    )
    assert (state_of(home.data), state_of(home.work, with_times=False)) == before


def test_results_that_do_not_fit_name_their_file(
    home: Home, capsys: pytest.CaptureFixture[str], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onelook.reports.evaluation_files import write_metrics

    def fill_and_write(*given: object) -> None:
        disk.is_full = True
        write_metrics(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("onelook.recipes.validate.write_metrics", fill_and_write)
    outcome = run(home.val(), capsys)
    assert outcome.code == 74
    assert outcome.err == "error: `runs/val/exp/metrics.json`: No space left on device\nhint: free some space\n"
    disk.is_full = True
    outcome = run(texts("autosplit", home.data), capsys)
    assert outcome.code == 74 and "autosplit_train.txt`: No space left" in outcome.err
    assert not list(home.work.glob("autosplit*"))
