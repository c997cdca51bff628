"""The tables of a run."""

from __future__ import annotations

from pathlib import Path

import torch

from onelook.callbacks.results_csv import ResultsCsv, SpeedCsv, columns_of
from onelook.training.callback import CheckpointWritten, EpochEnd, StepEnd


def step(num_images: int) -> StepEnd:
    return StepEnd(
        epoch=0, batch=0, step=1, mean_losses=torch.zeros(3), learning_rates=(0.1, 0.1, 0.1),
        num_images=num_images, num_boxes=0, imgsz=64,
    )  # fmt: skip


def test_speed_counts_the_images_and_the_saving_of_each_epoch(tmp_path: Path) -> None:
    table = SpeedCsv(tmp_path / "speed.csv", memory=lambda: 3 << 20)
    for epoch, seconds in enumerate((2.0, 4.0)):
        table.on_step_end(step(16))
        table.on_step_end(step(4))
        table.on_checkpoint_written(CheckpointWritten(tmp_path, epoch, 2, 0.25))
        table.on_epoch_end(EpochEnd(epoch, {}, None, False, seconds, 1.0))
    assert (tmp_path / "speed.csv").read_text().splitlines() == [
        "epoch,train_seconds,val_seconds,save_seconds,train_images_per_second,memory_mib",
        "0,2.000,1.000,0.250,10.00,3",
        "1,4.000,1.000,0.250,5.00,3",
    ]


def test_speed_continues_the_lines_of_earlier_processes_with_and_without_memory(tmp_path: Path) -> None:
    path = tmp_path / "speed.csv"
    path.write_text("epoch,train_seconds,val_seconds,save_seconds,train_images_per_second\n0,2.000,1.000,0.250,10.00\n")
    table = SpeedCsv(path, memory=lambda: None)
    table.on_epoch_end(EpochEnd(1, {}, None, False, 1.0, 0.0))
    head, *lines = path.read_text().splitlines()
    assert head.endswith(",memory_mib")
    assert lines == ["0,2.000,1.000,0.250,10.00", "1,1.000,0.000,0.000,0.00,"]


def test_damaged_speeds_stop_no_run(tmp_path: Path) -> None:
    path = tmp_path / "speed.csv"
    path.write_bytes(b"epoch\n0,\xff\xfe\n")
    SpeedCsv(path, memory=lambda: None).on_epoch_end(EpochEnd(1, {}, None, False, 1.0, 0.0))
    assert path.read_text(encoding="utf-8").splitlines()[-1] == "1,1.000,0.000,0.000,0.00,"


def test_results_keep_all_digits_and_start_from_the_history(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    table = ResultsCsv(path, [{"epoch": 0, "train/box_loss": 0.1 + 0.2}], columns_of(["box", "obj", "cls"]))
    table.on_epoch_end(EpochEnd(1, {"epoch": 1, "x/lr2": 1e-9}, None, False, 1.0, 0.0))
    rows = [line.split(",") for line in path.read_text().splitlines()]
    assert rows[1][:2] == ["0", "0.30000000000000004"]
    assert (rows[2][0], rows[2][1], rows[2][-1]) == ("1", "", "1e-09")
