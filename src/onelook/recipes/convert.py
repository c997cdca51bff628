"""From a checkpoint of YOLOv5 to one of ours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from onelook.engine.checkpoint import save_checkpoint
from onelook.engine.state import KIND_DETECTOR
from onelook.errors import CheckpointError, SettingsError
from onelook.files.bounded import printable
from onelook.interop.yolov5_weights import SUFFIXES, YoloV5Weights, read_yolov5

OUR_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Conversion:
    """What a conversion gives.

    Attributes:
        source: the detector that was found.
        num_parameters: numbers that a training run of it can change.
        path: the checkpoint that was written.
    """

    source: YoloV5Weights
    num_parameters: int
    path: Path


def convert(weights: Path, out: Path | None = None, *, exist_ok: bool = False) -> Conversion:
    """Read a checkpoint of YOLOv5 as data and write the same detector in our format.

    Args:
        weights: a `.pt` or `.pth` file.
        out: where to; by default beside `weights`, with the suffix `.safetensors`.
        exist_ok: whether a file in that place may be replaced.

    Raises:
        CheckpointError: the file cannot be read as such a checkpoint.
        SettingsError: `out` is taken or has another suffix.
        OSError: `out` cannot be written.
    """
    target = weights.with_suffix(OUR_SUFFIX) if out is None else out
    if weights.suffix.lower() not in SUFFIXES:
        raise CheckpointError(
            f"`{printable(weights)}` is no checkpoint of YOLOv5 by its name",
            hint=f"give a {' or '.join(SUFFIXES)} file",
        )
    if target.suffix != OUR_SUFFIX:
        raise SettingsError(f"`out` is `{printable(target)}`, which does not end in {OUR_SUFFIX}")
    if target.exists() and not exist_ok:
        raise SettingsError(
            f"`{printable(target)}` is there already", hint="choose another `--out`, or add `--exist-ok` to replace it"
        )
    source = read_yolov5(weights)
    tensors = {f"ema/{name}": tensor for name, tensor in source.tensors.items()}
    save_checkpoint(target, tensors, _document(source, weights))
    return Conversion(source, _num_parameters(source), target)


def _document(source: YoloV5Weights, weights: Path) -> dict[str, Any]:
    return {
        "kind": KIND_DETECTOR,
        "names": list(source.names),
        "definition": source.definition,
        "made_with": {"onelook": version("onelook"), "torch": torch.__version__},
        "source": {
            "file": printable(weights.name),
            "file_sha256": _digest(weights),
            "part": source.part,
            "epoch": source.epoch,
            "date": source.date,
        },
    }


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _num_parameters(source: YoloV5Weights) -> int:
    buffers = (".running_mean", ".running_var", ".num_batches_tracked", ".anchors")
    return sum(tensor.numel() for name, tensor in source.tensors.items() if not name.endswith(buffers))
