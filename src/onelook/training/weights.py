"""From a checkpoint file to a model: for inference, or as the start of a new run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onelook.errors import CheckpointError
from onelook.interop.yolov5_weights import SUFFIXES, read_yolov5
from onelook.models.detector import DetectionModel, create_model
from onelook.models.fuse import fuse
from onelook.models.transfer import TransferReport, transfer_detector
from onelook.runs.checkpoint import Checkpoint, load_checkpoint
from onelook.settings.train import TrainSettings

DEFAULT_MODEL = "yolov5s"
PROGRAMS = (".onnx", ".engine", ".torchscript", ".pt2")


@dataclass(frozen=True)
class StartingModel:
    """The model a run begins with.

    Attributes:
        model: on the CPU, in float32.
        label: how to call it, such as the shipped name or the stem of the YAML.
        report: what was taken over from the weights; None from scratch.
        has_new_anchors: the anchors are placeholders or the definition's own, not those of the weights.
    """

    model: DetectionModel
    label: str
    report: TransferReport | None
    has_new_anchors: bool


@dataclass(frozen=True)
class Weights:
    """The averaged model of a file, apart.

    Attributes:
        definition: builds the model.
        names: of the classes.
        tensors: its whole state, name -> tensor.
        is_fused: batch-norms are folded into the convolutions: good for everything but training.
    """

    definition: dict[str, Any]
    names: tuple[str, ...]
    tensors: dict[str, Tensor]
    is_fused: bool = False


def read_weights(path: Path) -> Weights:
    """What a file of weights holds: a checkpoint of ours, or one of YOLOv5 (.pt, .pth).

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or holds no detector.
    """
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        foreign = read_yolov5(path)
        return Weights(foreign.definition, foreign.names, foreign.tensors)
    if suffix in PROGRAMS:
        raise CheckpointError(
            f"weights `{path}` are an exported model: a `{path.suffix}` file may carry code and is not opened",
            hint="give the checkpoint it was made of: `.safetensors`, or `.pt` of YOLOv5",
        )
    return _weights_of(load_checkpoint(path), "ema/", path)


def load_detector(path: Path, device: torch.device | None = None) -> DetectionModel:
    """The averaged model of a file of weights, with its class names, in evaluation mode and float32.

    Raises:
        CheckpointError: see `read_weights`.
    """
    return _for_inference(_built(read_weights(path)), device)


def detector_of(checkpoint: Checkpoint, path: Path, device: torch.device | None = None) -> DetectionModel:
    """The averaged model of the checkpoint that was read from `path`, in evaluation mode and float32.

    Raises:
        CheckpointError: it holds no such model.
    """
    return _for_inference(model_of(checkpoint, "ema/", path), device)


def starting_model(settings: TrainSettings, names: tuple[str, ...]) -> StartingModel:
    """The model that `settings` ask for: from scratch, or with whatever fits taken over from the weights.

    With both `weights` and `cfg` the definition's anchors win; with `anchors` above 0 placeholders do.

    Raises:
        ModelError: the definition cannot be built.
        CheckpointError: the weights cannot be read, or not be trained on.
    """
    anchors = round(settings.anchors) or None
    if not settings.weights:
        name = settings.cfg or DEFAULT_MODEL
        model = create_model(name, num_classes=len(names), anchors=anchors, names=names, seed=settings.seed)
        return StartingModel(model, Path(name).stem, None, has_new_anchors=True)
    path = Path(settings.weights)
    given = read_weights(path)
    if given.is_fused:
        raise CheckpointError(
            f"weights `{path}` are fused: without their batch-norms they cannot be trained on",
            hint="start from the checkpoint that was converted",
        )
    definition = settings.cfg or given.definition
    model = create_model(definition, num_classes=len(names), anchors=anchors, names=names, seed=settings.seed)
    keeps_anchors = not settings.cfg and anchors is None
    exclude = () if keeps_anchors else ("anchor",)
    report = transfer_detector(model, given.tensors, given.names, exclude=exclude)
    return StartingModel(model, Path(settings.cfg).stem or path.stem, report, has_new_anchors=not keeps_anchors)


def model_of(checkpoint: Checkpoint, prefix: str, path: Path) -> DetectionModel:
    """The model whose tensors stand under `prefix` ("model/" or "ema/") in the checkpoint read from `path`."""
    return _built(_weights_of(checkpoint, prefix, path))


def _built(weights: Weights) -> DetectionModel:
    model = create_model(weights.definition, num_classes=len(weights.names), names=weights.names)
    if weights.is_fused:
        model = fuse(model)
    model.load_state_dict(weights.tensors)
    return model


def _for_inference(model: DetectionModel, device: torch.device | None) -> DetectionModel:
    return model.eval().requires_grad_(False).to(device or torch.device("cpu"))


def _weights_of(checkpoint: Checkpoint, prefix: str, path: Path) -> Weights:
    tensors, document = checkpoint.tensors_below(prefix), checkpoint.document
    if not tensors:
        raise CheckpointError(f"checkpoint `{path}` holds no tensors called `{prefix}...`")
    return Weights(document["definition"], tuple(document["names"]), tensors, bool(document.get("is_fused", False)))
