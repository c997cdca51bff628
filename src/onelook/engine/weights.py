"""From a checkpoint file to a model: for inference, or as the start of a new run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onelook.engine.checkpoint import Checkpoint, load_checkpoint
from onelook.errors import CheckpointError, ModelError
from onelook.models.detector import DetectionModel, create_model
from onelook.models.transfer import TransferReport, transfer
from onelook.settings.train import TrainSettings

DEFAULT_MODEL = "yolov5s"


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


def load_detector(path: Path, device: torch.device | None = None) -> DetectionModel:
    """The averaged model of a checkpoint, with its class names, in evaluation mode and float32.

    Raises:
        CheckpointError: the file is missing, damaged or not ours.
    """
    return detector_of(load_checkpoint(_own_format(path)), path, device)


def detector_of(checkpoint: Checkpoint, path: Path, device: torch.device | None = None) -> DetectionModel:
    """The averaged model of the checkpoint that was read from `path`, in evaluation mode and float32.

    Raises:
        CheckpointError: it holds no such model.
    """
    return model_of(checkpoint, "ema/", path).eval().requires_grad_(False).to(device or torch.device("cpu"))


def starting_model(settings: TrainSettings, names: tuple[str, ...]) -> StartingModel:
    """The model that `settings` ask for: from scratch, or with whatever fits taken over from the weights.

    With both `weights` and `cfg` the definition's anchors win; with `anchors` above 0 placeholders do.

    Raises:
        ModelError: the definition cannot be built.
        CheckpointError: the weights cannot be read.
    """
    anchors = round(settings.anchors) or None
    if not settings.weights:
        name = settings.cfg or DEFAULT_MODEL
        model = create_model(name, num_classes=len(names), anchors=anchors, names=names, seed=settings.seed)
        return StartingModel(model, Path(name).stem, None, has_new_anchors=True)
    path = _own_format(Path(settings.weights))
    checkpoint = load_checkpoint(path)
    definition = settings.cfg or checkpoint.document["definition"]
    model = create_model(definition, num_classes=len(names), anchors=anchors, names=names, seed=settings.seed)
    keeps_anchors = not settings.cfg and anchors is None
    report = transfer(model, _tensors(checkpoint, "ema/", path), exclude=() if keeps_anchors else ("anchor",))
    if report.copied == 0:
        raise ModelError(f"no tensor of `{path}` fits the model `{settings.cfg}`", hint="drop `--cfg` or `--weights`")
    return StartingModel(model, Path(settings.cfg).stem or path.stem, report, has_new_anchors=not keeps_anchors)


def model_of(checkpoint: Checkpoint, prefix: str, path: Path) -> DetectionModel:
    """The model whose tensors stand under `prefix` ("model/" or "ema/") in the checkpoint read from `path`."""
    document = checkpoint.document
    names = tuple(document["names"])
    model = create_model(document["definition"], num_classes=len(names), names=names)
    model.load_state_dict(_tensors(checkpoint, prefix, path))
    return model


def _tensors(checkpoint: Checkpoint, prefix: str, path: Path) -> dict[str, Tensor]:
    tensors = checkpoint.tensors_below(prefix)
    if not tensors:
        raise CheckpointError(f"checkpoint `{path}` holds no tensors called `{prefix}...`")
    return tensors


def _own_format(path: Path) -> Path:
    if path.suffix.lower() in {".pt", ".pth", ".onnx", ".engine", ".torchscript"}:
        raise CheckpointError(
            f"weights `{path}` are not in Onelook's format: a `{path.suffix}` file may carry code and is not opened",
            hint="give a `.safetensors` checkpoint that Onelook wrote",
        )
    return path
