"""The detector in a checkpoint, apart from the state of its training: what a file of ours says that holds it alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onelook.errors import CheckpointError, ModelError, SettingsError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import printable, sha256_of
from onelook.interop.yolov5_weights import SUFFIXES, read_yolov5
from onelook.models.detector import DetectionModel
from onelook.runs.checkpoint import encode, load_checkpoint
from onelook.training.state import KIND_DETECTOR, KIND_TRAINING
from onelook.training.weights import PROGRAMS, built, load_detector, located, weights_of

logger = logging.getLogger(__name__)

ENDING = "_inference.safetensors"
CONVERTED = ("data", "metrics", "settings", "origin")
"""Parts of our documents that a converted checkpoint keeps."""
KEPT = ("names", "definition", "settings", "metrics", "made_with", "source", "origin", "branch")


@dataclass(frozen=True)
class Source:
    """Where a detector comes from.

    Attributes:
        part: `ema` for averaged weights, `model` for others.
        epoch: last finished one; -1 if the file does not say.
        date: when the file was written, as it says; empty if it does not.
    """

    part: str
    epoch: int
    date: str


def write_inference_file(weights: Path) -> Path:
    """Write the averaged model of a checkpoint to `<stem>_inference.safetensors` beside it; where it is.

    The checkpoint is not changed. One that holds nothing else is its own inference file.

    Raises:
        CheckpointError: it cannot be read, or holds no detector.
        SettingsError: it is none of ours, or a file with other content has that name.
        OSError: the file cannot be written.
    """
    if weights.is_dir() or located(weights).suffix.lower() in (*SUFFIXES, *PROGRAMS):
        raise SettingsError(
            f"setting `update` is for checkpoints of Onelook, which `{printable(weights)}` is not",
            hint="`onelook convert` rewrites those of YOLOv5; exported models hold no training state",
        )
    checkpoint = load_checkpoint(weights)
    if checkpoint.document.get("kind") == KIND_DETECTOR:
        logger.info("`%s` holds no training state: nothing to update", printable(weights))
        return weights
    tensors = {f"ema/{name}": tensor for name, tensor in checkpoint.tensors_below("ema/").items()}
    if not tensors:
        raise CheckpointError(f"checkpoint `{printable(weights)}` holds no averaged model")
    document = {name: checkpoint.document[name] for name in KEPT if name in checkpoint.document}
    data = encode(tensors, {"kind": KIND_DETECTOR, **document})
    target = weights.with_name(f"{weights.stem}{ENDING}")
    if target.exists() and target.read_bytes() != data:
        raise SettingsError(f"setting `update`: `{printable(target)}` already exists", hint="move or remove it")
    write_bytes_atomic(target, data)
    logger.info("the detector alone is in `%s`", printable(target))
    return target


def detector_in_yolov5(path: Path) -> tuple[DetectionModel, Source, dict[str, Any]]:
    """The detector in a checkpoint of YOLOv5, where it was found, and the document of one of ours that holds it."""
    found = read_yolov5(path)
    source = Source(found.part, found.epoch, found.date)
    return load_detector(path), source, _document(found.names, found.definition, source, path)


def detector_in_ours(path: Path) -> tuple[DetectionModel, Source, dict[str, Any]]:
    """As `detector_in_yolov5`, of a checkpoint of ours."""
    checkpoint = load_checkpoint(path)
    document = checkpoint.document
    is_training = document.get("kind") == KIND_TRAINING
    epoch = document["progress"]["epoch"] - 1 if is_training else document.get("metrics", {}).get("epoch", -1)
    source = Source("ema", epoch, "")
    kept = {name: document[name] for name in (*CONVERTED, "is_fused") if name in document}
    return (
        built(weights_of(checkpoint, "ema/", path)),
        source,
        {**kept, **_document(document["names"], document["definition"], source, path)},
    )


def _document(names: Any, definition: Mapping[str, Any], source: Source, path: Path) -> dict[str, Any]:
    return {
        "kind": KIND_DETECTOR,
        "names": list(names),
        "definition": definition,
        "made_with": {"onelook": version("onelook"), "torch": torch.__version__},
        "source": {
            "file": printable(path.name),
            "file_sha256": sha256_of(path),
            **asdict(source),
        },
    }


def in_16_bits(name: str, tensor: Tensor) -> Tensor:
    """Weights of convolutions; what is short or must be exact stays as it is: biases, batch-norms, anchors.

    Raises:
        ModelError: a weight is too large.
    """
    if tensor.ndim < 2 or not tensor.is_floating_point() or name.endswith(".anchors"):
        return tensor
    half = tensor.half()
    if not bool(half.isfinite().all()):
        raise ModelError(
            f"`{name}` has a weight of {float(tensor.abs().max()):g}, too large for 16 bits", hint="drop `--half`"
        )
    return half
