"""Checkpoints of YOLOX (.pth) and its exported networks (.onnx): what detector they hold. They are read as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onelook.errors import CheckpointError
from onelook.files.bounded import printable
from onelook.interop.detector_weights import Weights, errors_named
from onelook.interop.onnx_graph import read_onnx
from onelook.interop.pickle_machine import MAX_BYTES, read_pickle
from onelook.interop.records import TensorRecord
from onelook.interop.stored_tensors import StoredTensors
from onelook.interop.yolov5_weights import pickle_folder, refuse_repeated_bytes
from onelook.interop.yolox_names import OUR_STEM, STEM, check_shapes, our_name, yolox_skeleton
from onelook.interop.yolox_onnx import yolox_of_graph
from onelook.interop.zip_members import open_members
from onelook.models.stem import folded_stem
from onelook.structures.origin import YOLOX


def read_yolox_onnx(path: Path) -> Weights:
    """The network in an ONNX file that was exported from YOLOX.

    Raises:
        CheckpointError: the file is missing or damaged, or holds another network; the message says what was found.
    """
    with errors_named(path):
        skeleton, tensors = yolox_of_graph(read_onnx(path))
    return Weights(skeleton.definition, skeleton.names, tensors, YOLOX, is_fused=True)


def read_yolox(path: Path) -> Weights | None:
    """The detector in a checkpoint of YOLOX; None if the file is not of YOLOX.

    What its trainer keeps beside the model, such as the best score so far, is not used.

    Raises:
        CheckpointError: it is a YOLOX of no known size, or damaged.
    """
    try:
        with open_members(path) as members:
            content = read_pickle(members.read(f"{pickle_folder(members)}data.pkl", MAX_BYTES))
    except CheckpointError:
        return None  # the reader of YOLOv5 then says what is wrong
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or STEM not in state:
        return None
    with errors_named(path), open_members(path) as members:
        return _read(state, content.get("start_epoch"), StoredTensors(members, pickle_folder(members)))


def _read(state: dict[Any, Any], epoch: Any, stored: StoredTensors) -> Weights:
    records = _records(state)
    shapes = {name: record.size for name, record in records.items()}
    if shapes[OUR_STEM][1:] != (12, 3, 3):
        raise CheckpointError(f"its first convolution has the shape {shapes[OUR_STEM]}")
    skeleton = yolox_skeleton(shapes)
    check_shapes(skeleton, {**shapes, OUR_STEM: (shapes[OUR_STEM][0], 3, 6, 6)})
    refuse_repeated_bytes(records, stored.members.file_bytes)
    tensors = {name: stored.load(name, record) for name, record in records.items()}
    tensors[OUR_STEM] = folded_stem(tensors[OUR_STEM])
    done = epoch - 1 if type(epoch) is int else -1
    return Weights(skeleton.definition, skeleton.names, tensors, YOLOX, epoch=done)


def _records(state: dict[Any, Any]) -> dict[str, TensorRecord]:
    """The tensors of a state dict by our names."""
    records = {}
    for name, record in state.items():
        ours = our_name(name) if isinstance(name, str) else None
        if ours is None or not isinstance(record, TensorRecord):
            raise CheckpointError(f"its model has `{printable(str(name)[:80])}`, which no YOLOX has")
        records[ours] = record
    return records
