"""The reference page of the callbacks tells every event, every field, and every hook of YOLOv5."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from onelook.training.callback import Callback, CheckpointWritten, EpochEnd, FitEnd, FitStart, StepEnd

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "callbacks.md").read_text(encoding="utf-8")
EVENTS = {
    "on_fit_start": FitStart,
    "on_step_end": StepEnd,
    "on_epoch_end": EpochEnd,
    "on_checkpoint_written": CheckpointWritten,
    "on_fit_end": FitEnd,
}
# Those of the releases 6.x and 7.0.
HOOKS = [
    "on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start", "on_train_epoch_start",
    "on_train_batch_start", "optimizer_step", "on_before_zero_grad", "teardown", "on_train_batch_end",
    "on_train_epoch_end", "on_val_start", "on_val_batch_start", "on_val_image_end", "on_val_batch_end",
    "on_val_end", "on_fit_epoch_end", "on_model_save", "on_train_end", "on_params_update", "stop_training",
]  # fmt: skip


def first_cells(heading: str) -> list[str]:
    """The names in the first column of the table below a heading."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ") and "---" not in line]
    return [name for cell in rows for name in re.findall(r"`([^`]+)`", cell)]


def test_the_events_are_those_of_the_class() -> None:
    assert [name for name in vars(Callback) if name.startswith("on_")] == list(EVENTS)
    for method, event in EVENTS.items():
        assert f"| `{method}` | `{event.__name__}` |" in PAGE


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.__name__)
def test_every_field_of_an_event_is_told(event: type) -> None:
    assert sorted(first_cells(event.__name__)) == sorted(entry.name for entry in fields(event))


def test_every_hook_of_yolov5_has_its_line() -> None:
    assert sorted(first_cells("Where the hooks of YOLOv5 are")) == sorted(HOOKS)
    places = re.findall(r"`(on_\w+)`", "\n".join(line.split("|")[2] for line in PAGE.splitlines() if "| `on_" in line))
    assert set(places) <= set(EVENTS)
