"""What a file of weights holds: the model in numbers, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from onelook.errors import CheckpointError
from onelook.exports.formats import format_of
from onelook.exports.opening import open_export
from onelook.files.bounded import printable, sha256_of
from onelook.interop.detector_weights import Weights
from onelook.interop.yolov5_weights import SUFFIXES
from onelook.models.count import ModelSummary, summarise
from onelook.runs.checkpoint import load_checkpoint
from onelook.settings.build import build_settings
from onelook.settings.info import InfoSettings
from onelook.settings.train import TrainSettings
from onelook.structures.origin import YOLOV5, YOLOX, Origin, origin_of
from onelook.training.state import KIND_TRAINING
from onelook.training.weights import is_foreign_onnx, located, read_weights, weights_of, whole_model

METRICS = ("precision", "recall", "map50", "map50_95")


@dataclass(frozen=True)
class InfoResult:
    """What is known of a file.

    Attributes:
        num_bytes: its size, bytes.
        sha256: hash of the file, in hexadecimal; empty for a folder.
        kind: "training run", "detector", "YOLOv5 checkpoint", or the name of an exported format.
        facts: where it comes from, what it can do: plain values by name.
        metrics: when it was validated last; empty if the file does not say.
        settings: settings of its training; empty if the file does not say.
        changed: the settings among them that are not the defaults.
        summary: the model in numbers; None for exported ones.
    """

    asked: InfoSettings
    path: Path
    num_bytes: int
    sha256: str
    kind: str
    names: tuple[str, ...]
    facts: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    summary: ModelSummary | None = None


def info(given: Mapping[str, Any], *, file: Path | None = None) -> InfoResult:
    """Describe a file of weights; nothing in it is run, and it is not changed.

    Raises:
        OnelookError: a setting or the file cannot be used.
    """
    settings = build_settings(InfoSettings, given, file=file)
    path = settings.weights if format_of(settings.weights) else located(settings.weights)
    settings = settings.model_copy(update={"weights": path})
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    sizes = sum(file.stat().st_size for file in files)
    known: dict[str, Any] = {"asked": settings, "path": path, "num_bytes": sizes}
    known["sha256"] = sha256_of(path) if path.is_file() else ""
    if format_of(path) and not is_foreign_onnx(path):
        if settings.rows:
            raise CheckpointError(
                f"`{printable(path)}` is an exported model: its layers are not listed",
                hint="give the checkpoint that it was made of",
            )
        metadata = open_export(path, torch.device("cpu")).metadata
        facts = {name: value for name, value in metadata.as_dict().items() if name not in ("names", "decoding")}
        return InfoResult(**known, kind=str(format_of(path)), names=metadata.names, facts=facts)
    if path.suffix.lower() in SUFFIXES or is_foreign_onnx(path):
        weights = read_weights(path)
        result = InfoResult(**known, **_of_foreign(weights))
    else:
        checkpoint = load_checkpoint(path)
        result, weights = InfoResult(**known, **_of_document(checkpoint.document)), weights_of(checkpoint, "ema/", path)
    model = whole_model(weights)
    if len(model.branches) > 1:
        better = f"{weights.branch}, {'which needs no NMS' if weights.branch == 'one' else 'with NMS'}"
        result.facts["better branch in validation"] = better
    return replace(result, summary=summarise(model, imgsz=settings.imgsz))


def _of_document(document: Mapping[str, Any]) -> dict[str, Any]:
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
    kind = "training run" if is_training else "detector"
    names = tuple(document["names"])
    of_training = {"metrics": metrics, "settings": settings, "changed": _changed(settings)}
    return {"kind": kind, "names": names, "facts": facts, **of_training}


def _origin_facts(origin: Origin | None) -> dict[str, Any]:
    """Where weights come from, and what their licence asks for."""
    return {} if origin is None else {"origin": str(origin), **({"notice": origin.notice} if origin.notice else {})}


def _of_foreign(weights: Weights) -> dict[str, Any]:
    epoch = {"epoch": weights.epoch} if weights.epoch >= 0 else {}
    if weights.origin == YOLOX:
        facts = {**epoch, **_origin_facts(YOLOX), "is fused": weights.is_fused}
        return {"kind": "YOLOX checkpoint", "names": weights.names, "facts": facts}
    facts = {"weights": "averaged" if weights.part == "ema" else "as stored", **epoch}
    facts |= {"date": weights.date} if weights.date else {}
    return {"kind": "YOLOv5 checkpoint", "names": weights.names, "facts": facts | _origin_facts(YOLOV5)}


def _changed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not the defaults."""
    fields = TrainSettings.model_fields
    defaults = {
        name: str(field.default) if isinstance(field.default, Path) else field.default for name, field in fields.items()
    }
    return {name: value for name, value in settings.items() if name not in defaults or defaults[name] != value}
