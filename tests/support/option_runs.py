"""Runs whose every step, update and forward pass is noted, and an account of which settings have a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stop_at import StopAt
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from onelook.errors import StopRequested
from onelook.models.detector import DetectionModel
from onelook.recipes.train import train
from onelook.recipes.train_result import TrainResult
from onelook.runs.checkpoint import load_checkpoint
from onelook.training.callback import Callback, CheckpointWritten, EpochEnd, FitEnd, FitStart, StepEnd
from onelook.training.weights import load_detector

Options = dict[str, Any]
Test = Callable[..., None]
COVERED: dict[tuple[str, str], list[str]] = {}  # (command, setting) -> tests, as pytest takes them
NO_AUGMENTATION: Options = {"hyp": "no-augmentation", "warmup_epochs": 0}


def covers(command: str, *names: str) -> Callable[[Test], Test]:
    """Note that a test fails if these settings of a command are ignored."""

    def note(test: Test) -> Test:
        for name in names:
            COVERED.setdefault((command, name), []).append(f"tests/runs/{test.__module__}.py::{test.__name__}")
        return test

    return note


@dataclass(frozen=True)
class Update:
    """One step of the optimiser.

    Attributes:
        kind: name of the class.
        groups: its groups of parameters, with their settings, at this step.
    """

    kind: str
    groups: list[dict[str, Any]]


@dataclass
class Trace(Callback):
    """What happens in a run.

    Attributes:
        start, steps, epochs, saved: the events.
        updates: steps of the optimiser.
        inputs: shape and type of what goes into the network, training and validation alike.
    """

    start: list[FitStart] = field(default_factory=list)
    steps: list[StepEnd] = field(default_factory=list)
    epochs: list[EpochEnd] = field(default_factory=list)
    saved: list[CheckpointWritten] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    inputs: list[tuple[int, ...]] = field(default_factory=list)

    def on_fit_start(self, event: FitStart) -> None:
        self.start.append(event)

    def on_step_end(self, event: StepEnd) -> None:
        self.steps.append(event)

    def on_epoch_end(self, event: EpochEnd) -> None:
        self.epochs.append(event)

    def on_checkpoint_written(self, event: CheckpointWritten) -> None:
        self.saved.append(event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note all updates and forward passes meanwhile."""

        def on_update(optimizer: Optimizer, *_: object) -> None:
            groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
            self.updates.append(Update(type(optimizer).__name__, groups))

        def on_forward(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            if isinstance(module, DetectionModel) and not given[0].is_meta:
                self.inputs.append(tuple(given[0].shape))

        handles = register_optimizer_step_pre_hook(on_update), register_module_forward_pre_hook(on_forward)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@dataclass(frozen=True)
class Trained:
    """A run and its trace."""

    result: TrainResult
    trace: Trace

    @property
    def row(self) -> dict[str, float]:
        """The first line of the results: losses of the first epoch, metrics, learning rates at its end."""
        return self.result.outcome.history[0]

    @property
    def losses(self) -> tuple[float, float, float]:
        """Box, objectness and class loss of the first epoch."""
        row = self.row
        return row["train/box_loss"], row["train/obj_loss"], row["train/cls_loss"]

    def tensors(self, part: str) -> dict[str, Tensor]:
        """Tensors of the last checkpoint, `model/` or `ema/`."""
        return load_checkpoint(self.result.last).tensors_below(part)

    @property
    def bits(self) -> bytes:
        """All of the average and of the trained weights."""
        both = {**load_checkpoint(self.result.last).tensors, **load_checkpoint(self.result.best).tensors}
        return b"".join(both[name].numpy().tobytes() for name in sorted(both))

    @property
    def anchors(self) -> Tensor:
        """(L, A, 2) width, height in pixels."""
        return load_detector(self.result.best).anchor_grid.anchors


class Hide(Callback):
    """Takes images away while the epochs last."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    def on_fit_start(self, event: FitStart) -> None:
        for folder in self.folders:
            folder.rename(folder.with_suffix(".hidden"))

    def on_fit_end(self, event: FitEnd) -> None:
        for folder in self.folders:
            folder.with_suffix(".hidden").rename(folder)


QUICK: Options = {
    "imgsz": 64,
    "workers": 0,
    "device": "cpu",
    "noautoanchor": True,
    "noplots": True,
    "noreport": True,
}
"""What keeps a training of the tiny model short."""


def fit(options: Options, *others: Callback, **changes: Any) -> Trained:
    """Train with `options` and `changes`, watched."""
    trace = Trace()
    with trace.watching():
        result = train({**options, **changes}, callbacks=[trace, *others])
    return Trained(result, trace)


def begun(options: Options, **changes: Any) -> Trace:
    """What is seen of a training with `options` and `changes` that is stopped after its first step."""
    trace = Trace()
    with trace.watching(), suppress(StopRequested):
        train({**options, **changes}, callbacks=[trace, StopAt(1)])
    return trace


def label_with(data: Path, text: str) -> None:
    """Give every training image of the dataset these label rows."""
    for label in (data / "labels" / "train").iterdir():
        label.write_text(text)
