"""Reads what W&B has written offline: a log of records in blocks of 32 KiB, each with checksum, length and kind."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MAGIC, HEADER_SIZE, BLOCK_SIZE = b":W&B", 7, 32768
WHOLE, LAST = 1, 4
Row = dict[str, Any]


@dataclass(frozen=True)
class WandbStore:
    """One file of one process.

    Attributes:
        run: what names the run.
        config, summary: by key.
        history: lines by step; keys of media are joined by `.`.
        artifacts: in their order.
    """

    run: Any
    config: Row
    summary: Row
    history: list[Row]
    artifacts: list[Any]

    def rows(self) -> dict[int, dict[str, float]]:
        """Epoch -> the numbers that `results.csv` has, too."""
        keys = ("train/", "val/", "metrics/", "x/")
        return {
            row["epoch"]: {key: value for key, value in row.items() if key.startswith(keys)}
            for row in self.history
            if "train/box_loss" in row
        }

    def images(self) -> set[str]:
        """Names of the images in the order of the alphabet."""
        return {key.split("/")[1].split(".")[0] for row in self.history for key in row if key.startswith("images/")}

    def boxed_epochs(self) -> list[int]:
        """Epochs that have images with boxes."""
        return [row["epoch"] for row in self.history if "boxes.count" in row]


def offline_wandb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B as for a user who has said offline; what it keeps of its own goes below `folder`."""
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(folder / "wandb" / name))
    for name in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_API_KEY", "WANDB_FINISH_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_MODE", "offline")


def forget_wandb() -> None:
    """Let W&B write all that waits, as at exit, and read the environment again the next time."""
    import wandb

    wandb.teardown()


def read_stores(run_folder: Path) -> list[WandbStore]:
    """What is in the run folder, oldest first."""
    forget_wandb()
    return [_read(path) for path in sorted(run_folder.glob("wandb/offline-run-*/run-*.wandb"))]


def _read(path: Path) -> WandbStore:
    from wandb.proto import wandb_internal_pb2

    run: Any = None
    config: Row = {}
    summary: Row = {}
    history: list[Row] = []
    artifacts: list[Any] = []
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= _values(record.run.config.update)
        elif kind == "config":
            config |= _values(record.config.update)
        elif kind == "summary":
            summary |= _values(record.summary.update)
        elif kind == "history":
            history.append(_values(record.history.item))
        elif kind == "artifact":
            artifacts.append(record.artifact)
    return WandbStore(run, config, summary, history, artifacts)


def _values(items: Any) -> Row:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    assert data[:4] == MAGIC
    position, parts = HEADER_SIZE, b""
    while position + HEADER_SIZE <= len(data):
        left = BLOCK_SIZE - position % BLOCK_SIZE
        if left < HEADER_SIZE:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER_SIZE])
        position += HEADER_SIZE
        parts += data[position : position + length]
        position += length
        if kind in (WHOLE, LAST):
            yield parts
            parts = b""
