"""A detector read from a file of weights, and errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from onelook.errors import CheckpointError, ModelError
from onelook.files.bounded import printable
from onelook.models.detector import Branch
from onelook.structures.origin import Origin


@dataclass(frozen=True)
class Weights:
    """A detector in a file of ours or of another program, the averaged one if it holds two; images are RGB from 0 to 1.

    Attributes:
        definition: as in a model YAML; it builds the model that the tensors belong to.
        names: class names; for YOLOX, whose files have none, those of COCO for 80 classes, else numbers.
        tensors: the whole state by our names, float32 and int64.
        origin: where they come from; None if an older checkpoint of ours does not say.
        epoch: last finished epoch; -1 if the file is stripped or does not say.
        part: `ema` or `model`, the entry of the file they come from.
        date: when the file was written, as it says; empty if it does not.
        imgsz: side of the images that it was trained on, pixels; None if the file does not say.
        is_fused: batch-norms are folded into the convolutions, as in an exported network; a training finds new ones
            first, see `inflated`.
        branch: branch of the head that was better in validation.
    """

    definition: dict[str, Any]
    names: tuple[str, ...]
    tensors: dict[str, Tensor]
    origin: Origin | None
    epoch: int = -1
    part: str = "model"
    date: str = ""
    imgsz: int | None = None
    is_fused: bool = False
    branch: Branch = "many"


@contextmanager
def errors_named(path: Path, *, hint: str | None = None) -> Iterator[None]:
    """Name the file of weights in errors raised inside; `hint` is for errors without one."""
    try:
        yield
    except (CheckpointError, ModelError) as problem:
        raise CheckpointError(
            f"weights `{printable(path)}` cannot be used: {problem.message}", hint=problem.hint or hint
        ) from problem
