"""Progress of a training on the console: a bar within an epoch and a line per epoch; plain lines in a log file."""

from __future__ import annotations

import math
import shlex
import textwrap
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from onelook.errors import counted, lost_if_full
from onelook.processes.memory import memory_held
from onelook.settings.command_line import as_arguments
from onelook.settings.series import PLACE, names_of
from onelook.structures.metrics import DetectionMetrics
from onelook.training.callback import (
    STOP_REQUESTED,
    Callback,
    CheckpointWritten,
    EpochEnd,
    FitEnd,
    FitStart,
    StepEnd,
)
from onelook.training.eta import Pace, duration

REFRESH_SECONDS = 0.5  # reading the losses makes a GPU wait: not after every batch
LOG_SECONDS = 30.0
BAR_CELLS = 20
# Titles and widths; with three losses a line fits into 80 columns.
METRIC_COLUMNS = (("P", 7), ("R", 7), ("mAP50", 7), ("mAP50-95", 9), ("took", 8), ("left", 9))
SHORT = {"mAP50": "AP50", "mAP50-95": "AP"}
"""Titles where the terminal is narrow."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave the BrokenPipeError as it is: rich would make it the end of the process, with exit code 1."""
        raise


class ConsoleProgress(Callback):
    """Shows a training on the console.

    In a terminal: a bar over the batches of an epoch (losses are means over the epoch so far), then a line with the
    results of the epoch, all under one heading. Elsewhere: a line per epoch, and one every 30 seconds within it,
    without colours or cursor movements.

    Args:
        console: where to write; standard output by default.
    """

    _pace: Pace  # from the first event on

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._console = _Console(highlight=False) if console is None else console
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._clock = clock
        self._loss_columns: tuple[str, ...] = ()
        self._last_step: StepEnd | None = None
        self._last_shown = -math.inf
        self._has_heading = False
        self._resume_command = ""
        self._saved: Path | None = None

    def on_fit_start(self, event: FitStart) -> None:
        """Print model, data, settings and folder; the state of an earlier run is reset."""
        settings = event.settings
        self._pace, self._last_step, self._saved, self._has_heading = Pace(event), None, None, False
        self._loss_columns = event.loss_columns
        typed_again = as_arguments({"track": settings.track, "callbacks": settings.callbacks})
        self._resume_command = shlex.join(["onelook", "train", "--resume", str(event.run_folder), *typed_again])
        self._say(f"{event.model_summary}, on {event.device}")
        self._say(
            f"{counted(event.num_train_images, 'image')} to train on, {event.num_val_images:,} to validate, "
            f"{counted(len(event.names), 'class')}; {counted(event.batches_per_epoch, 'batch')} an epoch, "
            f"{settings.imgsz} pixels"
        )
        if event.is_resumed:
            self._say(f"resuming at epoch {event.start_epoch}, batch {event.start_batch}")
        self._say_settings(event)
        self._say(f"run folder: {event.run_folder}")

    def on_step_end(self, event: StepEnd) -> None:
        """Update the bar, at most twice a second; without a terminal, print the position every 30 seconds."""
        now = self._clock()
        if self._pace.step(event, now):
            self._last_shown = -math.inf if self._is_live else now
        self._last_step = event
        if now - self._last_shown < (REFRESH_SECONDS if self._is_live else LOG_SECONDS):
            return
        self._last_shown = now
        if self._is_live:
            self._erase_line()
            self._follow(self._bar(event, now))
        else:
            self._say(f"epoch {event.epoch}/{self._pace.last_epoch}: {', '.join(self._pace.position(event, now))}")

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Replace the bar by the line of the epoch."""
        self._pace.epoch(event)
        losses = [event.row.get(f"train/{part}_loss", math.nan) for part in self._loss_columns]
        took = event.train_seconds + event.val_seconds
        times = duration(took), duration(took * (self._pace.last_epoch - event.epoch))
        if not self._is_live:
            self._say(f"{self._plain_line(event, losses)} took {times[0]}, {times[1]} left")
            return
        self._erase_line()
        if not self._has_heading:
            self._say(self._row(["epoch", *self._loss_columns, *(title for title, _ in METRIC_COLUMNS)]), style="bold")
            self._has_heading = True
        figures = _figures(event.metrics)[:-1] if event.metrics is not None else ("-",) * 4
        star = "*" if self._console.options.ascii_only else "★"
        epoch = f"{star if event.is_best else ''} {event.epoch}/{self._pace.last_epoch}"
        self._say(self._row([epoch, *map(_number, losses), *figures, *times]))

    def on_checkpoint_written(self, event: CheckpointWritten) -> None:
        """Remember the checkpoint, to name it if the run is stopped."""
        self._saved = event.path

    def on_fit_end(self, event: FitEnd) -> None:
        """Print how the run ended, the best epoch, and how to resume a stopped run."""
        if self._is_live:
            self._erase_line()
        done = counted(event.epochs_done, "epoch")
        best = f"; best: epoch {event.best_epoch}, fitness {event.best_fitness:.4f}" if event.best_epoch >= 0 else ""
        self._say(f"{event.reason} after {done}, {duration(event.seconds)}{best}")
        if event.reason == STOP_REQUESTED and self._saved is not None:
            self._say(f"saved as {self._saved}; resume with: {self._resume_command}")

    def _row(self, cells: Iterable[str]) -> str:
        """A line of cells; a narrow terminal gets narrower columns and one digit less."""
        widths = [8, *(7 for _ in self._loss_columns), *(width for _, width in METRIC_COLUMNS)]
        if sum(widths) + 3 <= self._console.width:
            return "".join(text.rjust(width) for text, width in zip(cells, widths, strict=True))
        short = [SHORT.get(text, text[:5] if text.startswith("0.") else text) for text in cells]
        return "".join(text.rjust(6 if number else 5) for number, text in enumerate(short))[: self._console.width - 1]

    def _bar(self, step: StepEnd, now: float) -> str:
        """The progress line of an epoch, with as many details as the terminal has room for."""
        filled = BAR_CELLS * (step.batch + 1) // self._pace.batches_per_epoch
        full, empty = ("#", "-") if self._console.options.ascii_only else ("━", "╌")
        line = f"{step.epoch}/{self._pace.last_epoch}".rjust(8) + f" {full * filled}{empty * (BAR_CELLS - filled)}"
        losses = zip(self._loss_columns, step.mean_losses.tolist(), strict=True)
        more = [
            *self._pace.position(step, now),
            *(f"{name} {_number(loss)}" for name, loss in losses),
            memory_in_use(),
            f"lr {step.learning_rates[1]:.3g}",
            counted(step.num_boxes, "box"),
            f"{step.imgsz} px",
        ]
        for part in more:
            if len(line) + len(part) + 3 > self._console.width:
                break
            line += f"  {part}"
        return line

    def _plain_line(self, event: EpochEnd, losses: list[float]) -> str:
        step = self._last_step
        parts = [f"epoch {event.epoch}/{self._pace.last_epoch}:"]
        parts += [f"{name} {_number(loss)}" for name, loss in zip(self._loss_columns, losses, strict=True)]
        if step is not None and step.epoch == event.epoch:
            parts += [
                f"lr {step.learning_rates[1]:.3g}",
                counted(step.num_boxes, "box"),
                f"{step.imgsz} px",
                memory_in_use(),
            ]
        if event.metrics is not None:
            names = ("P", "R", "mAP50", "mAP50-95", "fitness")
            parts += [f"{name} {value}" for name, value in zip(names, _figures(event.metrics), strict=True)]
            parts += ["best"] if event.is_best else []
        return " ".join(parts)

    def _say_settings(self, event: FitStart) -> None:
        """Print the settings that are not the defaults and the scaled weight decay, wrapped in a terminal."""
        settings, fields = event.settings, type(event.settings).model_fields
        values = {name: getattr(settings, name) for name in fields if name not in names_of(type(settings), PLACE)}
        changed = [f"{name} {value}" for name, value in values.items() if value != fields[name].default]
        text = f"settings: {', '.join(changed) or 'the defaults'}; weight decay per update: {event.weight_decay:.3g}"
        width = max(20, self._console.width - 1) if self._is_live else len(text)
        wrapped = textwrap.wrap(
            for_terminal(text), width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        for line in wrapped:
            self._say(line)

    def _say(self, text: str, *, style: str = "") -> None:
        """Print a message as it is: not wrapped, and without reading markup in it."""
        self._print(Text(for_terminal(text), style=style))

    def _follow(self, text: str) -> None:
        """Print a line, cropped to the terminal, that the next one will replace."""
        line = Text(for_terminal(text))
        line.truncate(self._console.width - 1, overflow="crop")
        self._print(line, end="")

    def _print(self, text: Text, *, end: str = "\n") -> None:
        with lost_if_full():
            self._console.print(text, end=end, soft_wrap=True)

    def _erase_line(self) -> None:
        with lost_if_full():
            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))


def memory_in_use() -> str:
    """Memory of the run: reserved on the GPU, or the peak of the process; `-` if unknown."""
    held = memory_held()
    return "-" if held is None else f"{held / 2**30:.1f} GB"


def for_terminal(text: str) -> str:
    r"""`text` with control characters as `?`: names come from untrusted files.

    >>> for_terminal("bee\x1b[2J")
    'bee?[2J'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def _figures(metrics: DetectionMetrics) -> tuple[str, ...]:
    values = (metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, metrics.fitness)
    return tuple(_number(value) for value in values)


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else str(value)
