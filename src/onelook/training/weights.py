"""From a checkpoint file to a model: for inference, or as the start of a new run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onelook.errors import CheckpointError, ModelError
from onelook.files.bounded import has_controls, printable
from onelook.files.cache_folder import default_cache_folder
from onelook.interop.detector_weights import Weights
from onelook.interop.missing_weights import refuse_known_names
from onelook.interop.onnx_graph import onnx_metadata
from onelook.interop.published_weights import PUBLISHED_WEIGHTS
from onelook.interop.yolov5_weights import SUFFIXES, read_yolov5
from onelook.interop.yolox_weights import read_yolox, read_yolox_onnx
from onelook.models.catalog import find_definition
from onelook.models.detector import DetectionModel, create_model, fill_skeleton, skeleton_of
from onelook.models.fuse import fuse
from onelook.models.inflate import inflated
from onelook.models.transfer import TransferReport, transfer_detector
from onelook.runs.checkpoint import Checkpoint, load_checkpoint
from onelook.settings.head import HeadChoice
from onelook.settings.train import TrainSettings, training_size
from onelook.structures.origin import FROM_SCRATCH, Origin, origin_of

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "yolov5s"
METADATA_KEY = "onelook"
"""Metadata key by which ONNX and Core ML files of `onelook export` are recognised."""

MAX_NAMES = 100_000
PROGRAMS = (".onnx", ".engine", ".torchscript", ".pt2")


@dataclass(frozen=True)
class StartingModel:
    """The model a run begins with.

    Attributes:
        model: the model, on the CPU, in float32.
        label: display name, such as the shipped name or the stem of the YAML.
        report: what was taken over from the weights; None from scratch.
        has_new_anchors: the anchors are placeholders or the definition's own, not those of the weights.
        origin: where the weights come from; None if unknown.
    """

    model: DetectionModel
    label: str
    report: TransferReport | None
    has_new_anchors: bool
    origin: Origin | None = None


def read_weights(path: Path) -> Weights:
    """What a file of weights holds: a checkpoint of ours, of YOLOv5 or YOLOX (.pt, .pth), or a YOLOX in ONNX.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or holds no detector.
    """
    path = located(path)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        yolox = read_yolox(path) if path.is_file() else None
        if yolox is not None:
            return yolox
        return _checked(read_yolov5(path), path)
    if is_foreign_onnx(path):
        try:
            return read_yolox_onnx(path)
        except CheckpointError as problem:
            hint = problem.hint or "give the checkpoint it was made of, or export the checkpoint again"
            raise CheckpointError(problem.message, hint=hint) from problem
    if suffix in PROGRAMS:
        raise CheckpointError(
            f"weights `{path}` are an exported model: a `{path.suffix}` file may carry code and is not opened",
            hint="give the checkpoint it was made of: `.safetensors`, or `.pt` of YOLOv5",
        )
    return weights_of(load_checkpoint(path), "ema/", path)


def located(path: Path) -> Path:
    """`path`; for a name in `PUBLISHED_WEIGHTS` that is no file here, where `onelook download` puts the file.

    Raises:
        CheckpointError: that has not been fetched; the path is a folder, or a name of weights known from elsewhere.
    """
    if path.is_dir():
        raise CheckpointError(
            f"weights `{printable(path)}` are a folder, which holds neither a run with its best weights nor an export "
            "that can be used here",
            hint="give a run folder, such as `runs/train/exp`, or a file; to train, the checkpoint of an export",
        )
    if path.exists():
        return path
    published = PUBLISHED_WEIGHTS.get(str(path))
    if published is None:
        refuse_known_names(path)
        return path
    found = weights_folder() / published.name
    if not found.is_file():
        raise CheckpointError(
            f"weights `{path}` ({published.origin}) are not on this machine",
            hint=f"fetch them once with `onelook download {path}`",
        )
    return found


def weights_folder() -> Path:
    """Where published weights are kept."""
    return default_cache_folder() / "weights"


def is_foreign_onnx(path: Path) -> bool:
    """Whether `path` is an ONNX file that is not from `onelook export`."""
    return path.suffix.lower() == ".onnx" and path.is_file() and METADATA_KEY not in onnx_metadata(path)


def load_detector(path: Path, device: torch.device | None = None, *, head: HeadChoice = "auto") -> DetectionModel:
    """The averaged model of a file of weights, with its class names, in evaluation mode and float32.

    Args:
        head: which branch of its head it keeps; "auto" the one that was better in validation.

    Raises:
        CheckpointError: see `read_weights`.
        ModelError: the model has no such branch.
    """
    return detector_of(read_weights(path), device, head=head)


def whole_model(weights: Weights) -> DetectionModel:
    """The averaged model with all branches of its head, in evaluation mode and float32, on the CPU."""
    return built(weights).eval().requires_grad_(False)


def detector_of(weights: Weights, device: torch.device | None, *, head: HeadChoice = "auto") -> DetectionModel:
    """As `load_detector`, of weights that have been read."""
    model = whole_model(weights)
    better = weights.branch if weights.branch in model.branches else model.branches[0]
    model.keep_branch(better if head == "auto" else head)
    return model.to(device or torch.device("cpu"))


def starting_model(
    settings: TrainSettings, names: tuple[str, ...], images: Callable[[], Iterable[Tensor]] = tuple
) -> StartingModel:
    """The model that `settings` ask for: from scratch, or with whatever fits taken over from the weights.

    With both `weights` and `cfg` the definition's anchors win; with `anchors` above 0 placeholders do.

    Args:
        images: gives batches (B, 3, H, W) from 0 to 1 of training images, for weights without batch-norms.

    Raises:
        ModelError: the definition cannot be built.
        CheckpointError: the weights cannot be read.
    """
    path = Path(settings.weights)
    given = read_weights(path) if settings.weights else None
    if given is not None and given.is_fused:
        logger.info("weights `%s` have no batch norms: new ones are computed from training images", path)
        given = replace(given, tensors=inflated(built(given).eval(), images()), is_fused=False)
    definition = settings.cfg or (DEFAULT_MODEL if given is None else given.definition)
    content = find_definition(definition)[0] if isinstance(definition, str) else definition
    anchors = round(settings.anchors) or None if content.get("anchors") is not None else None
    model = create_model(
        definition,
        num_classes=len(names),
        anchors=anchors,
        names=names,
        one_to_one=not settings.no_one,
        seed=settings.seed,
    )
    label = Path(settings.cfg or settings.weights or DEFAULT_MODEL).stem
    if given is None:
        return StartingModel(model, label, None, has_new_anchors=True, origin=FROM_SCRATCH)
    keeps_anchors = not settings.cfg and anchors is None
    exclude = () if keeps_anchors else ("anchor",)
    report = transfer_detector(model, given.tensors, given.names, exclude=exclude)
    return StartingModel(model, label, report, has_new_anchors=not keeps_anchors, origin=given.origin)


def definition_of(settings: TrainSettings) -> Mapping[str, Any]:
    """What builds the model of a run with these settings, but for its classes.

    Raises:
        ModelError: there is no such definition.
        CheckpointError: the weights cannot be read.
    """
    if settings.cfg or not settings.weights:
        return find_definition(settings.cfg or DEFAULT_MODEL)[0]
    return read_weights(Path(settings.weights)).definition


def built(weights: Weights) -> DetectionModel:
    """The model with all branches of its head, ready to be trained."""
    with torch.device("meta"):  # skips the random initialisation
        model = create_model(weights.definition, num_classes=len(weights.names), names=weights.names)
        if weights.is_fused:
            model = fuse(model)
    fill_skeleton(model, weights.tensors)
    model.imgsz = weights.imgsz
    return model


def weights_of(checkpoint: Checkpoint, prefix: str, path: Path) -> Weights:
    """As `read_weights`: what stands under `prefix` ("model/" or "ema/") in the checkpoint read from `path`."""
    tensors, document = checkpoint.tensors_below(prefix), checkpoint.document
    if not tensors:
        raise CheckpointError(f"checkpoint `{path}` holds no tensors called `{prefix}...`")
    definition, names = document.get("definition"), document.get("names")
    if not isinstance(definition, dict):
        raise CheckpointError(f"checkpoint `{path}`: its `definition` is {_shown(definition)}, not that of a model")
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_NAMES or not all(isinstance(n, str) for n in names):
        raise CheckpointError(f"checkpoint `{path}`: its `names` are {_shown(names)}, not those of classes")
    weights = Weights(
        definition,
        tuple(names),
        tensors,
        origin_of(document.get("origin")),
        is_fused=document.get("is_fused") is True,
        imgsz=training_size(document.get("settings")),
        branch="one" if document.get("branch") == "one" else "many",
    )
    return _checked(weights, path)


def _checked(weights: Weights, path: Path) -> Weights:
    """The weights, if they are those of a model that can be built, and numbers; CheckpointError if they are not."""
    bad = next((name for name in weights.names if has_controls(name)), None)
    if bad is not None:
        raise CheckpointError(f"checkpoint `{path}`: its class name {_shown(bad)} holds control characters")
    try:
        skeleton = skeleton_of(weights.definition, num_classes=len(weights.names))  # whatever its size, without memory
        expected = skeleton.state_dict()
        if weights.is_fused and _elements(expected) <= _elements(weights.tensors):
            expected = fuse(skeleton).state_dict()
    except ModelError as problem:
        raise CheckpointError(f"checkpoint `{path}`: {problem.message}", hint=problem.hint) from problem
    for name in [*expected, *weights.tensors]:
        wanted, found = expected.get(name), weights.tensors.get(name)
        if wanted is None or found is None:
            what = "is missing" if found is None else "is not part of the model that it describes"
            raise CheckpointError(
                f"checkpoint `{path}`: tensor `{name}` {what}",
                hint="if another version of Onelook wrote it, use that one, or train again",
            )
        if wanted.shape != found.shape:
            raise CheckpointError(
                f"checkpoint `{path}`: tensor `{name}` has the shape {tuple(found.shape)}, "
                f"the model that it describes {tuple(wanted.shape)}"
            )
        if found.is_floating_point() and not bool(torch.isfinite(found).all()):
            raise CheckpointError(
                f"checkpoint `{path}`: tensor `{name}` holds numbers that are not finite",
                hint="the training diverged: use an earlier checkpoint, such as `best.safetensors`",
            )
    return weights


def _elements(tensors: Mapping[str, Tensor]) -> int:
    """Numbers in weights, without those of batch-norms and biases."""
    return sum(tensor.numel() for tensor in tensors.values() if tensor.ndim > 1)


def _shown(value: Any) -> str:
    return "missing" if value is None else f"`{ascii(value)[:60]}`"
