"""What a run shows on the console, in a terminal and in a log file."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from plots_examples import AWKWARD_NAMES, make_metrics
from rich.console import Console

from onelook.callbacks.console import ConsoleProgress, memory_in_use
from onelook.callbacks.metric_tables import class_table
from onelook.cli.messages import messages, report
from onelook.errors import CheckpointError
from onelook.settings.train import TrainSettings
from onelook.structures.metrics import DetectionMetrics
from onelook.training.callback import CheckpointWritten, EpochEnd, FitEnd, FitStart, StepEnd
from onelook.training.eta import Pace, duration

NUM_EPOCHS, BATCHES_PER_EPOCH = 3, 8
SECONDS_PER_BATCH = 0.25
METRICS = make_metrics(2)


def fit_start(*, start_epoch: int = 0, start_batch: int = 0) -> FitStart:
    return FitStart(
        settings=TrainSettings(epochs=NUM_EPOCHS), run_folder=Path("runs/train/exp"), names=("bee", "wasp"),
        num_train_images=128, num_val_images=32, batches_per_epoch=BATCHES_PER_EPOCH, start_epoch=start_epoch,
        start_batch=start_batch, device="CPU", model_summary="yolov5n, 1,766,623 parameters",
    )  # fmt: skip


def step_end(epoch: int, batch: int) -> StepEnd:
    losses = torch.tensor([0.0512, 0.0345, 0.0123])
    return StepEnd(epoch, batch, epoch * BATCHES_PER_EPOCH + batch, losses, (0.1, 0.0101, 0.0101), 16, 40, 640)


def epoch_end(epoch: int, metrics: DetectionMetrics | None, *, is_best: bool = False) -> EpochEnd:
    row = {"epoch": float(epoch), "train/box_loss": 0.0512, "train/obj_loss": 0.0345, "train/cls_loss": 0.0123}
    return EpochEnd(epoch, row, metrics, is_best, train_seconds=2.0, val_seconds=1.0)


def fit_end(reason: str = "finished", *, best_epoch: int = 1) -> FitEnd:
    return FitEnd(reason, NUM_EPOCHS, best_epoch, best_fitness=0.4321, history=(), seconds=3725.0)


def shown(*, terminal: bool, width: int = 80, start: FitStart | None = None, end: FitEnd | None = None) -> str:
    """What a whole run writes; its first epoch is not validated."""
    return shown_by_several(1, terminal=terminal, width=width, start=start, end=end)[0]


def shown_by_several(
    runs: int, *, terminal: bool, width: int = 80, start: FitStart | None = None, end: FitEnd | None = None
) -> list[str]:
    """What each of several runs writes that one display follows."""
    now = [100.0]
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None, highlight=False)
    progress = ConsoleProgress(console, clock=lambda: now[0])
    texts: list[str] = []
    for _ in range(runs):
        progress.on_fit_start(start or fit_start())
        for epoch in range(NUM_EPOCHS):
            for batch in range(BATCHES_PER_EPOCH):
                now[0] += SECONDS_PER_BATCH
                progress.on_step_end(step_end(epoch, batch))
            progress.on_epoch_end(epoch_end(epoch, METRICS if epoch else None, is_best=epoch == 1))
            progress.on_checkpoint_written(
                CheckpointWritten(Path("runs/train/exp/weights/last.safetensors"), epoch, 8, 0.1)
            )
        progress.on_fit_end(end or fit_end())
        texts.append(console.file.getvalue()[len("".join(texts)) :])
    return texts


def test_a_log_file_gets_one_plain_line_per_epoch() -> None:
    text = shown(terminal=False)
    assert "\x1b" not in text
    assert "\r" not in text
    lines = [line for line in text.split("\n") if line.startswith("epoch ")]
    assert len(lines) == NUM_EPOCHS
    assert "epoch 0/2: box 0.0512 obj 0.0345 cls 0.0123 lr 0.0101 40 boxes 640 px" in lines[0]
    assert "mAP50" not in lines[0]
    assert f"mAP50 {METRICS.map50:.4f} mAP50-95 {METRICS.map50_95:.4f} fitness {METRICS.fitness:.4f} best" in lines[1]
    assert "best" not in lines[2]
    assert lines[0].endswith("took 0:03, 0:06 left")


def test_settings_that_differ_from_the_defaults_and_the_scaled_decay_are_said() -> None:
    given = TrainSettings(epochs=NUM_EPOCHS, lr0=0.02, degrees=5.0, project=Path("elsewhere"))
    text = shown(terminal=False, start=replace(fit_start(), settings=given, weight_decay=0.00046875))
    (line,) = [line for line in text.split("\n") if line.startswith("settings: ")]
    assert line == "settings: lr0 0.02, degrees 5.0, epochs 3; weight decay per update: 0.000469"
    plain = shown(terminal=False, start=replace(fit_start(), settings=TrainSettings()))
    assert "settings: the defaults; weight decay per update: " in plain


def test_a_log_file_does_not_wrap_its_lines() -> None:
    assert shown(terminal=False, width=20) == shown(terminal=False, width=200)


def test_a_log_file_says_every_30_seconds_where_an_epoch_is() -> None:
    now = [0.0]
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    progress = ConsoleProgress(console, clock=lambda: now[0])
    progress.on_fit_start(fit_start())
    for batch in range(BATCHES_PER_EPOCH):
        progress.on_step_end(step_end(0, batch))
        now[0] += 10.0
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("epoch ")]
    assert lines == ["epoch 0/2: 4/8, 1.6 img/s, 0:40 left, run 3:20", "epoch 0/2: 7/8, 1.6 img/s, 0:10 left, run 2:50"]


def test_a_terminal_gets_a_bar_twice_a_second() -> None:
    text = shown(terminal=True, width=120)
    first_epoch = text.split("epoch    box")[0].split("run folder")[1]
    assert first_epoch.count("\r") == 1 + BATCHES_PER_EPOCH * SECONDS_PER_BATCH / 0.5
    assert "0/2 ━━╌" in first_epoch
    assert "7/8  64.0 img/s  0:00 left  run 0:04  box 0.0512" in first_epoch, "16 images in a quarter of a second"


def test_a_terminal_gets_one_heading_and_a_line_for_each_epoch() -> None:
    text = shown(terminal=True).replace("\x1b[2K", "")
    assert text.count("mAP50-95") == 1
    last = [line.split("\r")[-1].split() for line in text.split("\n")][4:8]
    assert [line[0] for line in last] == ["epoch", "0/2", "★", "2/2"]
    assert last[1][4:8] == ["-"] * 4
    assert last[3][6] == f"{METRICS.map50:.4f}"


def test_narrow_terminals_keep_every_column() -> None:
    text = shown(terminal=True, width=60).replace("\x1b[2K", "")
    shown_last = [line.split("\r")[-1] for line in text.split("\n")]
    heading = next(line for line in shown_last if line.split()[:1] == ["epoch"])
    rows = [line for line in shown_last if "/2 " in line]
    assert heading.split() == ["epoch", "box", "obj", "cls", "P", "R", "AP50", "AP", "took", "left"]
    assert [len(row) for row in rows] == [len(heading)] * NUM_EPOCHS
    table = "\n".join(rendered(METRICS, ("a class with a long name", "b"), width=60))
    assert all(title in table for title in ("Images", "Labels", "AP50", "AP"))
    assert "…" not in table
    assert [line[:9].strip() for line in table.split("\n")[3:7]] == ["a class", "with a", "long name", "b"]


def test_messages_are_whole_however_narrow_the_terminal_is() -> None:
    folder = Path("runs/train/a-long-name-of-a-run-folder")
    start = FitStart(**{**vars(fit_start()), "run_folder": folder})
    text = shown(terminal=True, width=30, start=start, end=fit_end("stop requested"))
    assert f"run folder: {folder}\n" in text
    assert f"onelook train --resume {folder}\n" in text


def test_a_terminal_marks_the_best_epoch() -> None:
    lines = [line for line in shown(terminal=True).splitlines() if "★" in line or "best" in line]
    assert len(lines) == 2
    assert f"{METRICS.map50:.4f}" in lines[0]
    assert lines[1].endswith("finished after 3 epochs, 1:02:05; best: epoch 1, fitness 0.4321")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_bar_and_no_line_of_an_epoch_wraps(width: int) -> None:
    text = shown(terminal=True, width=width).replace("\x1b[2K", "")
    for line in text[text.index("\r") :].split("\n"):
        is_message = line.split("\r")[-1].startswith("finished")
        assert is_message or all(len(part) < width for part in line.split("\r"))


@pytest.mark.parametrize("terminal", [True, False])
def test_a_second_run_is_shown_like_the_first(terminal: bool) -> None:
    first, second = shown_by_several(2, terminal=terminal)
    assert first == second


def test_a_resumed_run_says_where_it_goes_on() -> None:
    assert "resuming at epoch 1, batch 4" in shown(terminal=False, start=fit_start(start_epoch=1, start_batch=4))
    assert "resuming" not in shown(terminal=False)


def test_a_stopped_run_says_how_to_resume() -> None:
    text = shown(terminal=False, end=fit_end("stop requested", best_epoch=-1))
    assert "stop requested after 3 epochs, 1:02:05\n" in text
    assert "onelook train --resume runs/train/exp\n" in text
    start = fit_start()
    start = FitStart(**{**vars(start), "settings": start.settings.model_copy(update={"track": ["wandb", "mlflow"]})})
    text = shown(terminal=False, start=start, end=fit_end("stop requested", best_epoch=-1))
    assert "onelook train --resume runs/train/exp --track wandb mlflow\n" in text, "no checkpoint names a tracker"
    assert "--resume" not in shown(terminal=False)


def test_an_epoch_that_was_complete_on_resume_needs_no_steps() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    progress = ConsoleProgress(console)
    progress.on_fit_start(fit_start(start_epoch=1, start_batch=BATCHES_PER_EPOCH))
    progress.on_epoch_end(epoch_end(1, METRICS))
    assert f"{METRICS.map50:.4f}" in console.file.getvalue()


def test_names_and_folders_cannot_steer_the_terminal() -> None:
    start = fit_start()
    evil = FitStart(**{**vars(start), "run_folder": Path("a\x1b[2Jb[red]c")})
    assert "a?[2Jb[red]c" in shown(terminal=False, start=evil)


def test_time_left_counts_the_rest_of_the_epoch_and_the_epochs_after_it() -> None:
    pace = Pace(fit_start())  # 3 epochs of 8 batches with 16 images
    assert pace.step(step_end(1, 2), 10.0)
    assert not any(pace.step(step_end(1, batch), 10.0 + batch - 2) for batch in range(3, 7))
    assert pace.images_per_second(14.0) == 16
    assert pace.time_left(6, 14.0) == (1.0, 1.0 + 1 * 8.0)
    pace.epoch(epoch_end(0, None))
    assert pace.time_left(6, 14.0) == (1.0, 1.0 + 1 * 3.0)


def test_time_left_is_unknown_at_first() -> None:
    pace = Pace(fit_start())
    pace.step(step_end(0, 0), 10.0)
    assert math.isnan(pace.images_per_second(10.0))
    assert all(math.isnan(seconds) for seconds in pace.time_left(0, 10.0))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (3600, "1:00:00"), (400_000, "111:06:40"), (math.inf, "-")],
)
def test_durations_read_as_clocks(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_memory_is_given_in_gigabytes() -> None:
    assert memory_in_use().endswith(" GB")


def rendered(metrics: DetectionMetrics, names: tuple[str, ...], *, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(class_table(metrics, names, width=width))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_narrow_class_table_keeps_every_column_and_leaves_room_for_names() -> None:
    metrics = make_metrics(2)
    lines = rendered(metrics, ("bee", "a_class_name_that_is_rather_long_for_sixty_columns"), width=60)
    assert max(map(len, lines)) <= 60 and lines[0].split() == [
        "Class",
        "Images",
        "Labels",
        "P",
        "R",
        "F1",
        "AP50",
        "AP",
    ]
    assert len(lines) <= 2 + 2 + 6, "the long name takes few lines"
    assert "mAP50-95" in rendered(metrics, ("bee", "wasp"), width=80)[0]


def test_class_table_starts_with_all_and_names_each_class_with_labels() -> None:
    lines = rendered(METRICS, ("bee", "[bold]wasp\x1b[2J", "unseen"))
    assert lines[0].split() == ["Class", "Images", "Labels", "P", "R", "F1", "mAP50", "mAP50-95"]
    means = (METRICS.precision, METRICS.recall, METRICS.f1, METRICS.map50, METRICS.map50_95)
    assert lines[2].split() == ["all", "60", "1,000", *(f"{value:.3f}" for value in means)]
    assert lines[3].split()[0] == "bee"
    assert lines[3].split()[-2] == f"{METRICS.class_ap50[0]:.3f}"
    assert lines[4].startswith("[bold]wasp?[2J")
    assert len(lines) == 5


def test_class_table_without_labels_shows_no_numbers() -> None:
    lines = rendered(make_metrics(0, num_classes=2), ("bee", "wasp"))
    assert lines[2].split()[3:] == ["-"] * 5
    assert len(lines) == 3


def test_class_table_takes_awkward_names() -> None:
    text = "\n".join(rendered(make_metrics(8), AWKWARD_NAMES))
    assert "類別" in text
    assert "λ?μ" in text
    assert "class 7" in text


class FullDisk(io.StringIO):
    """A log file on a disk without space."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_line_that_finds_no_space_in_a_log_ends_no_training(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr("sys.stdout", FullDisk())
    monkeypatch.setattr("sys.stderr", FullDisk())
    console = Console(file=FullDisk(), force_terminal=is_terminal, width=80, highlight=False)
    progress = ConsoleProgress(console)
    with messages():
        logging.getLogger("onelook.test").info("anchors kept")
        logging.getLogger("onelook.test").warning("the checkpoint was not written")
        progress.on_fit_start(fit_start())
        progress.on_step_end(step_end(0, 0))
        progress.on_epoch_end(epoch_end(0, None))
        progress.on_fit_end(fit_end())
        assert report(CheckpointError("`last.safetensors` was not written")) == 3


def test_a_reader_that_leaves_is_told_apart_from_an_exit() -> None:
    progress = ConsoleProgress()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, contextlib.redirect_stdout(pipe):
        with pytest.raises(BrokenPipeError):
            progress.on_fit_start(fit_start())
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
