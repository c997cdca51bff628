"""The detector in a checkpoint, apart: a file beside it that holds what inference needs and nothing of the training."""

from __future__ import annotations

import logging
from pathlib import Path

from onelook.errors import CheckpointError, SettingsError
from onelook.exports.formats import format_of
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import printable
from onelook.interop.yolov5_weights import SUFFIXES
from onelook.runs.checkpoint import encode, load_checkpoint
from onelook.training.state import KIND_DETECTOR
from onelook.training.weights import PROGRAMS

logger = logging.getLogger(__name__)

ENDING = "_inference.safetensors"
KEPT = ("names", "definition", "settings", "metrics", "made_with", "source", "origin", "branch")


def write_inference_file(weights: Path) -> Path:
    """Write the averaged model of a checkpoint to `<stem>_inference.safetensors` beside it; where it is.

    The checkpoint is not changed. One that holds nothing else is its own inference file.

    Args:
        weights: a checkpoint of ours.

    Raises:
        CheckpointError: it cannot be read, or holds no detector.
        SettingsError: it is none of ours, or the place is taken by a file with other content.
        OSError: the file cannot be written.
    """
    if weights.suffix.lower() in (*SUFFIXES, *PROGRAMS) or format_of(weights) is not None:
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
        raise SettingsError(f"setting `update`: `{printable(target)}` is there already", hint="move or remove it")
    write_bytes_atomic(target, data)
    logger.info("the detector alone is in `%s`", printable(target))
    return target
