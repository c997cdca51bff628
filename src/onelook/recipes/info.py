"""What a file of weights holds: the model in numbers, where it comes from, and what it could do without."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from onelook.errors import CheckpointError
from onelook.exports.formats import format_of
from onelook.exports.opening import open_export
from onelook.files.bounded import printable, sha256_of
from onelook.interop.yolov5_weights import SUFFIXES, read_yolov5
from onelook.interop.yolox_weights import YoloXWeights, read_yolox, read_yolox_onnx
from onelook.models.count import ModelSummary, summarise
from onelook.models.detector import DetectionModel
from onelook.models.fuse import is_fused
from onelook.models.sparsity import LayerSparsity, measure_sparsity, pruned
from onelook.recipes.validate import validate
from onelook.runs.checkpoint import load_checkpoint, save_checkpoint
from onelook.settings.build import build_settings
from onelook.settings.info import InfoSettings
from onelook.settings.train import TrainSettings
from onelook.structures.origin import YOLOV5, YOLOX, Origin, origin_of
from onelook.training.state import KIND_DETECTOR, KIND_TRAINING
from onelook.training.weights import is_foreign_onnx, located, read_weights, whole_model

METRICS = ("precision", "recall", "map50", "map50_95")


@dataclass(frozen=True)
class PrunedResult:
    """What a pruned model is worth.

    Attributes:
        percentage: of the weights that are zero; 0 for the model as it is.
        map50, map50_95: on the validation split.
    """

    percentage: float
    map50: float
    map50_95: float


@dataclass(frozen=True)
class InfoResult:
    """What is known of a file.

    Attributes:
        asked: the settings.
        path: the file or folder.
        num_bytes: of it.
        sha256: of the file, in hexadecimal; empty for a folder.
        kind: "training run", "detector", "YOLOv5 checkpoint", or the name of an exported format.
        names: of the classes.
        facts: where it comes from, what it can do: plain values by name.
        metrics: when it was validated last; empty if the file does not say.
        settings: of its training; empty if the file does not say.
        changed: the settings among them that are not the defaults.
        summary: the model in numbers; None for exported ones.
        layers: small weights of each layer, if asked for.
        pruned: measured on a dataset, if asked for.
    """

    asked: InfoSettings
    path: Path
    num_bytes: int
    sha256: str
    kind: str
    names: tuple[str, ...]
    facts: dict[str, Any]
    metrics: dict[str, float]
    settings: dict[str, Any]
    changed: dict[str, Any]
    summary: ModelSummary | None = None
    layers: tuple[LayerSparsity, ...] = ()
    pruned: tuple[PrunedResult, ...] = ()


def info(given: Mapping[str, Any], *, file: Path | None = None) -> InfoResult:
    """Look into a file of weights; nothing in it is run, nor is it changed.

    Args:
        given: settings by name; see `InfoSettings`.
        file: YAML file with more settings, weaker than `given`.

    Raises:
        OnelookError: a setting, the file or the data cannot be used.
    """
    settings = build_settings(InfoSettings, given, file=file)
    settings = settings.model_copy(update={"weights": located(settings.weights)})
    path = settings.weights
    if format_of(path) is not None and not is_foreign_onnx(path):
        if settings.rows or settings.sparsity or settings.prune:
            raise CheckpointError(
                f"`{printable(path)}` is an exported model: its layers are not listed",
                hint="give the checkpoint that it was made of",
            )
        return _of_export(settings)
    is_foreign = path.suffix.lower() in SUFFIXES or is_foreign_onnx(path)
    result = _of_foreign(settings) if is_foreign else _of_checkpoint(settings)
    weights = read_weights(path)
    model = whole_model(weights)
    if len(model.branches) > 1:
        better = f"{weights.branch}, {'which needs no NMS' if weights.branch == 'one' else 'with NMS'}"
        result = replace(result, facts={**result.facts, "better branch in validation": better})
    layers: tuple[LayerSparsity, ...] = ()
    if settings.sparsity or settings.prune:
        layers = measure_sparsity(model, threshold=settings.threshold, percentages=settings.prune)
    return replace(
        result,
        summary=summarise(model, imgsz=settings.imgsz),
        layers=layers,
        pruned=_measured(model, settings) if settings.data else (),
    )


def _of_checkpoint(asked: InfoSettings) -> InfoResult:
    document = load_checkpoint(asked.weights).document
    is_training = document.get("kind") == KIND_TRAINING
    facts = {f"made with {name}": value for name, value in document.get("made_with", {}).items()}
    facts |= {f"source {name}": value for name, value in document.get("source", {}).items()}
    metrics = {name: document["metrics"][name] for name in METRICS} if "metrics" in document else {}
    facts |= {"epoch": document["metrics"]["epoch"]} if metrics else {}
    if is_training:
        progress = document["progress"]
        facts |= {name: progress[name] for name in ("epoch", "batch", "step", "best_epoch", "best_fitness")}
    facts |= _origin_facts(origin_of(document.get("origin")))
    facts["is fused"] = bool(document.get("is_fused", False))
    settings = dict(document.get("settings", {}))
    return replace(
        _of_file(asked, "training run" if is_training else "detector"),
        names=tuple(document["names"]),
        facts=facts,
        metrics=metrics,
        settings=settings,
        changed=_changed(settings),
    )


def _origin_facts(origin: Origin | None) -> dict[str, Any]:
    """Where weights come from, and what their licence asks for."""
    return {} if origin is None else {"origin": str(origin), **({"notice": origin.notice} if origin.notice else {})}


def _of_foreign(asked: InfoSettings) -> InfoResult:
    path = asked.weights
    found = read_yolox_onnx(path) if is_foreign_onnx(path) else read_yolox(path) if path.is_file() else None
    return _of_yolov5(asked) if found is None else _of_yolox(asked, found)


def _of_yolox(asked: InfoSettings, found: YoloXWeights) -> InfoResult:
    facts: dict[str, Any] = {"epoch": found.epoch} if found.epoch >= 0 else {}
    facts |= {**_origin_facts(YOLOX), "is fused": found.is_fused}
    return replace(_of_file(asked, "YOLOX checkpoint"), names=found.names, facts=facts)


def _of_yolov5(asked: InfoSettings) -> InfoResult:
    source = read_yolov5(asked.weights)
    facts: dict[str, Any] = {"weights": "averaged" if source.part == "ema" else "as stored"}
    facts |= {"epoch": source.epoch} if source.epoch >= 0 else {}
    facts |= {"date": source.date} if source.date else {}
    facts |= _origin_facts(YOLOV5)
    return replace(_of_file(asked, "YOLOv5 checkpoint"), names=source.names, facts=facts)


def _of_export(asked: InfoSettings) -> InfoResult:
    metadata = open_export(asked.weights, torch.device("cpu")).metadata
    facts = {name: value for name, value in metadata.as_dict().items() if name not in ("names", "decoding")}
    return replace(_of_file(asked, str(format_of(asked.weights))), names=metadata.names, facts=facts)


def _of_file(asked: InfoSettings, kind: str) -> InfoResult:
    path = asked.weights
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return InfoResult(
        asked=asked,
        path=path,
        num_bytes=sum(file.stat().st_size for file in files),
        sha256=sha256_of(path) if path.is_file() else "",
        kind=kind,
        names=(),
        facts={},
        metrics={},
        settings={},
        changed={},
    )


def _changed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not the defaults."""
    fields = TrainSettings.model_fields
    defaults = {
        name: str(field.default) if isinstance(field.default, Path) else field.default for name, field in fields.items()
    }
    return {name: value for name, value in settings.items() if name not in defaults or defaults[name] != value}


def _measured(model: DetectionModel, settings: InfoSettings) -> tuple[PrunedResult, ...]:
    """The model as it is and with each percentage of its weights gone, on the validation split."""
    document = {
        "kind": KIND_DETECTOR,
        "names": list(model.names),
        "definition": model.definition,
        "is_fused": is_fused(model),
    }
    results = []
    with tempfile.TemporaryDirectory(prefix="onelook-prune-") as folder:
        for percentage in (0.0, *settings.prune):
            weights = Path(folder) / f"{percentage:g}.safetensors"
            tensors = {f"ema/{name}": tensor for name, tensor in pruned(model, percentage).state_dict().items()}
            save_checkpoint(weights, tensors, document)
            found = validate(
                {
                    "weights": weights,
                    "data": settings.data,
                    "imgsz": settings.imgsz,
                    "batch_size": settings.batch_size,
                    "workers": settings.workers,
                    "device": settings.device,
                    "noplots": True,
                    "project": Path(folder) / "runs",
                }
            ).metrics
            results.append(PrunedResult(percentage, found.map50, found.map50_95))
    return tuple(results)
