"""Runs in several processes that something may happen to, and what they leave behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from forked_ranks import Faults, Ranks, train_ranks

from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.settings.command_line import as_arguments

EQUAL_FILES = ("results.csv", "labels.json")
EQUAL_PARTS = ("progress", "loss", "ema_updates", "metrics")
Settings = Mapping[str, Any]


def settings_of_20_steps(data: Path, model: Path) -> dict[str, Any]:
    """Four epochs of five batches."""
    return {
        "data": data,
        "cfg": model,
        "epochs": 4,
        "batch_size": 4,
        "imgsz": 64,
        "workers": 0,
        "device": "cpu",
        "noplots": True,
        "noreport": True,
        "noautoanchor": True,
    }


def in_processes(size: int, settings: Settings, folder: Path, *, faults: Faults | None = None) -> Ranks:
    """A training in `size` processes that has begun; `folder` is for its run and, with another name, what it says."""
    words = as_arguments(settings if "resume" in settings else {**settings, "project": folder})
    return train_ranks(words, size, folder.with_name(f"{folder.name}-said"), faults=faults)


def trained(size: int, settings: Settings, folder: Path) -> Path:
    """The run folder of a training in `size` processes that went well."""
    if size == 1:
        return train({**settings, "project": folder}).run_folder
    ranks = in_processes(size, settings, folder)
    assert ranks.join() == [0] * size, ranks.everything_said
    return folder / "exp"


def weights(run: Path) -> dict[str, bytes]:
    """The bits of all tensors of the last checkpoint."""
    tensors = load_checkpoint(run / "weights" / "last.safetensors").tensors
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def contents(run: Path) -> dict[str, bytes]:
    """The bits of all tensors, of the results, and of what a run knows of itself."""
    found = {name: (run / name).read_bytes() for name in EQUAL_FILES}
    for name in ("last", "best"):
        checkpoint = load_checkpoint(run / "weights" / f"{name}.safetensors")
        found |= {f"{name}/{key}": tensor.numpy().tobytes() for key, tensor in checkpoint.tensors.items()}
        found |= {f"{name}.{part}": repr(checkpoint.document.get(part)).encode() for part in EQUAL_PARTS}
    return found


def differences(run: Path, other: Path) -> list[str]:
    """What is not the same bit for bit in two run folders."""
    first, second = contents(run), contents(other)
    return [name for name in {**first, **second} if first.get(name) != second.get(name)]


def steps_done(run: Path) -> int:
    """Of the last checkpoint."""
    return int(load_checkpoint(run / "weights" / "last.safetensors").document["progress"]["step"])


def rows(run: Path) -> int:
    """Epochs in the results so far."""
    file = run / "results.csv"
    return len(file.read_text().splitlines()) - 1 if file.is_file() else 0


def status(run: Path) -> tuple[str, int | None]:
    """How a run stands, and the exit code that it ended with."""
    found = json.loads((run / "status.json").read_text())
    return found["state"], found["exit_code"]


def wait_for(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    """Return as soon as something is so; fail if it does not come to that."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)


def is_alive(number: int) -> bool:
    """Whether there is such a process on Linux; one that has ended and has not been asked how does not count."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
