"""A run in many processes is the run in one: the same weights and results to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from forked_ranks import Faults, Ranks, require_loopback, train_ranks
from onelook.engine.checkpoint import load_checkpoint
from onelook.recipes.train import train
from onelook.settings.command_line import as_arguments

EQUAL_FILES = ("results.csv", "labels.json")
SETTINGS = {
    "epochs": 4,
    "batch_size": 4,
    "nominal_batch": 8,
    "imgsz": 64,
    "workers": 0,
    "device": "cpu",
    "noplots": True,
    "noautoanchor": True,
}


@pytest.fixture(autouse=True)
def loopback() -> None:
    require_loopback()


def contents(run: Path) -> dict[str, bytes]:
    """The bits of all tensors, of the results and of what a run knows of itself."""
    found = {name: (run / name).read_bytes() for name in EQUAL_FILES}
    for name in ("last", "best"):
        checkpoint = load_checkpoint(run / "weights" / f"{name}.safetensors")
        found |= {f"{name}/{key}": tensor.numpy().tobytes() for key, tensor in checkpoint.tensors.items()}
        for part in ("progress", "loss", "ema_updates", "metrics"):
            found[f"{name}.{part}"] = repr(checkpoint.document.get(part)).encode()
    return found


def differences(run: Path, other: Path) -> list[str]:
    first, second = contents(run), contents(other)
    return [name for name in {**first, **second} if first.get(name) != second.get(name)]


def in_processes(size: int, settings: Mapping[str, Any], folder: Path, *, faults: Faults | None = None) -> Ranks:
    words = as_arguments({**settings, "project": folder})
    return train_ranks(words, size, folder.with_name(folder.name + "-said"), faults=faults)


def trained(size: int, settings: Mapping[str, Any], folder: Path) -> Path:
    """The run folder of a training in `size` processes that went well."""
    if size == 1:
        return train({**settings, "project": folder}).run_folder
    ranks = in_processes(size, settings, folder)
    assert ranks.join() == [0] * size, ranks.everything_said
    return folder / "exp"


CASES: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": "SGD", "lr0": 0.003},
    "AdamW and all that is random": {
        "optimizer": "AdamW", "lr0": 0.003, "multi_scale": True, "auto_balance": True, "mixup": 0.3, "degrees": 5.0,
    },
    "a last batch of 2": {"batch_size": 6},
    "a last batch of 1": {"batch_size": 19 if False else 6, "epochs": 2},
    "workers": {"workers": 1},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_bits_of_one(case: str, tiny_data: Path, tiny_model: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "data": tiny_data, "cfg": tiny_model, **CASES[case]}
    one = trained(1, {**settings, "micro_batch": settings["batch_size"] // 2}, tmp_path / "one")
    two = trained(2, settings, tmp_path / "two")
    assert differences(one, two) == []
