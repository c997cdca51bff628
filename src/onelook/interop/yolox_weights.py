"""Checkpoints of YOLOX (.pth) and its exported networks (.onnx): what detector they hold. They are read as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from onelook.errors import CheckpointError, ModelError
from onelook.files.bounded import printable
from onelook.interop.onnx_graph import read_onnx
from onelook.interop.pickle_machine import MAX_BYTES, read_pickle
from onelook.interop.records import TensorRecord
from onelook.interop.stored_tensors import StoredTensors
from onelook.interop.yolov5_weights import pickle_folder, refuse_repeated_bytes
from onelook.interop.yolox_names import OUR_STEM, STEM, check_shapes, our_name, yolox_skeleton
from onelook.interop.yolox_onnx import yolox_of_graph
from onelook.interop.zip_members import open_members
from onelook.models.detector import DetectionModel
from onelook.models.stem import folded_stem


@dataclass(frozen=True)
class YoloXWeights:
    """A detector of YOLOX; its images are RGB from 0 to 1, as ours are.

    Attributes:
        definition: as of a model YAML; it builds the model that the tensors belong to.
        names: of the classes: those of COCO for 80 of them, else numbers, since the file does not say.
        tensors: the whole state by our names, float32 and int64.
        is_fused: batch-norms are folded into the convolutions, as in an exported network.
        epoch: last finished epoch; -1 if the file does not say.
    """

    definition: dict[str, Any]
    names: tuple[str, ...]
    tensors: dict[str, Tensor]
    is_fused: bool
    epoch: int = -1


def read_yolox_onnx(path: Path) -> YoloXWeights:
    """The network in an ONNX file that was exported from YOLOX.

    Raises:
        CheckpointError: the file is missing or damaged, or holds another network; the message says what was found.
    """
    try:
        skeleton, tensors = yolox_of_graph(read_onnx(path))
    except (CheckpointError, ModelError) as problem:
        raise CheckpointError(
            f"weights `{printable(path)}` cannot be used: {problem.message}", hint=problem.hint
        ) from problem
    return YoloXWeights(skeleton.definition, skeleton.names, tensors, is_fused=True)


def read_yolox(path: Path) -> YoloXWeights | None:
    """The detector in a checkpoint of YOLOX; None if the file is not of YOLOX.

    What its trainer keeps beside the model, such as the best score so far, is not used.

    Raises:
        CheckpointError: it is a YOLOX of no known size, or damaged.
    """
    try:
        with open_members(path) as members:
            content = read_pickle(members.read(f"{pickle_folder(members)}data.pkl", MAX_BYTES))
    except CheckpointError:
        return None  # which the reader of YOLOv5 refuses, in words that suit it
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or STEM not in state:
        return None
    try:
        with open_members(path) as members:
            return _read(state, content.get("start_epoch"), StoredTensors(members, pickle_folder(members)))
    except (CheckpointError, ModelError) as problem:
        raise CheckpointError(
            f"weights `{printable(path)}` cannot be used: {problem.message}", hint=problem.hint
        ) from problem


def _read(state: dict[Any, Any], epoch: Any, stored: StoredTensors) -> YoloXWeights:
    records = _records(state)
    skeleton = _skeleton(records)
    stem = records[OUR_STEM]
    if len(stem.size) != 4 or stem.size[1:] != (12, 3, 3):
        raise CheckpointError(f"its first convolution has the shape {stem.size}")
    shapes = {name: record.size for name, record in records.items()}
    check_shapes(skeleton, {**shapes, OUR_STEM: (stem.size[0], 3, 6, 6)})
    refuse_repeated_bytes(records, stored.members.file_bytes)
    tensors = {name: stored.load(name, record) for name, record in records.items()}
    tensors[OUR_STEM] = folded_stem(tensors[OUR_STEM])
    done = epoch - 1 if type(epoch) is int else -1
    return YoloXWeights(skeleton.definition, skeleton.names, tensors, is_fused=False, epoch=done)


def _records(state: dict[Any, Any]) -> dict[str, TensorRecord]:
    """The tensors of a state dict by our names."""
    records = {}
    for name, record in state.items():
        ours = our_name(name) if isinstance(name, str) else None
        if ours is None or not isinstance(record, TensorRecord):
            raise CheckpointError(f"its model has `{printable(str(name)[:80])}`, which no YOLOX has")
        records[ours] = record
    return records


def _skeleton(records: dict[str, TensorRecord]) -> DetectionModel:
    bottlenecks = sum(name.startswith("model.2.m.") and name.endswith(".cv1.conv.weight") for name in records)
    classes = records.get("model.24.cls_preds.0.weight")
    if classes is None or not classes.size:
        raise CheckpointError("it has no class outputs", hint="give a detector of YOLOX with its head")
    width = records[OUR_STEM].size[0]
    depthwise = "model.1.dconv.conv.weight" in records
    return yolox_skeleton(width, bottlenecks, classes.size[0], depthwise=depthwise)
