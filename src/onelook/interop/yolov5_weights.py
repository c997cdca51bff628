"""Checkpoints of YOLOv5 6.0 to 7.0: what detector they hold. Their code is never run: they are read as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from onelook.errors import CheckpointError, counted
from onelook.files.bounded import printable
from onelook.interop.detector_weights import Weights, errors_named
from onelook.interop.module_tree import ModuleTree, walk
from onelook.interop.pickle_machine import MAX_BYTES, read_pickle
from onelook.interop.plain_values import plain
from onelook.interop.records import Record, TensorRecord, described
from onelook.interop.same_model import check_same_model
from onelook.interop.stored_tensors import StoredTensors, dtype_of
from onelook.interop.zip_members import ZipMembers, open_members
from onelook.models.definition import KEYS
from onelook.models.detector import create_model
from onelook.settings.train import training_size
from onelook.structures.origin import YOLOV5

SUFFIXES = (".pt", ".pth")
DETECTORS = ("models.yolo.Model", "models.yolo.DetectionModel")
MAX_SMALL_MEMBER = 64
_OTHER_MODELS = {
    "models.yolo.SegmentationModel": "a segmentation model",
    "models.yolo.ClassificationModel": "a classification model",
    "models.yolo.Segment": "a segmentation head",
    "models.common.Classify": "a classification head",
}
_HINT = "what can be read are detectors of YOLOv5 6.0 to 7.0"


def read_yolov5(path: Path) -> Weights:
    """The detector in a checkpoint of YOLOv5; the averaged one, if it holds two.

    Raises:
        CheckpointError: the file is missing, damaged, wants to run code, or holds anything else than such a detector;
            the message says what was found.
    """
    if not path.exists():
        raise CheckpointError(
            f"weights `{printable(path)}` do not exist",
            hint="nothing is downloaded on its own: fetch the file, or give the path of one",
        )
    with errors_named(path, hint=_HINT), open_members(path) as members:
        return _read(members)


def _read(members: ZipMembers) -> Weights:
    folder = pickle_folder(members)
    content = read_pickle(members.read(f"{folder}data.pkl", MAX_BYTES))
    model, part = _model_of(content)
    tree = walk(model)
    _refuse_other_kinds(tree)
    definition = _definition_of(model)
    names = _names_of(model, definition.get("nc"))
    with torch.device("meta"):
        skeleton = create_model(definition, names=names)
    check_same_model(skeleton, tree)
    wanted = {name: tree.tensors[name] for name in skeleton.state_dict()}
    refuse_repeated_bytes(wanted, members.file_bytes)
    stored = StoredTensors(members, folder)
    _check_strides(model, skeleton.stride_px, stored)
    tensors = {name: stored.load(name, record) for name, record in wanted.items()}
    epoch, date = content.get("epoch"), content.get("date")
    return Weights(
        skeleton.definition,
        names,
        tensors,
        YOLOV5,
        epoch=epoch if type(epoch) is int else -1,
        part=part,
        date=printable(date[:40]) if isinstance(date, str) else "",
        imgsz=training_size(content.get("opt")),
    )


def pickle_folder(members: ZipMembers) -> str:
    """The folder of the archive that everything lies in, with its slash."""
    pickles = [name for name in members.names if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        shown = ", ".join(f"`{printable(name)}`" for name in members.names[:5])
        raise CheckpointError(
            f"it is a zip archive with {len(pickles)} members `data.pkl`, and no checkpoint: it holds {shown}"
        )
    folder = pickles[0].removesuffix("data.pkl")
    for name, expected in (("byteorder", b"little"), ("version", b"3")):
        if f"{folder}{name}" not in members.names:
            continue
        found = bytes(members.read(f"{folder}{name}", MAX_SMALL_MEMBER)).strip()
        if found != expected:
            raise CheckpointError(f"its {name} is `{printable(found)}`; `{expected.decode()}` can be read")
    return folder


def _model_of(content: Any) -> tuple[Record, str]:
    """The model to use and the name of its entry."""
    if not isinstance(content, dict):
        raise CheckpointError(f"it holds {described(content)}, not the dictionary of a checkpoint")
    for part in ("ema", "model"):
        found = content.get(part)
        if found is None:
            continue
        if not isinstance(found, Record):
            raise CheckpointError(f"its `{part}` is {described(found)}, not a model", hint=_bare_hint(found))
        path = _own_path(found)
        if path not in DETECTORS:
            what = _OTHER_MODELS.get(path, "an object")
            raise CheckpointError(f"its `{part}` is {what} (`{found.kind}`), not a detector of YOLOv5 6.0 to 7.0")
        return found, part
    keys = ", ".join(described(key) for key in list(content)[:8])
    raise CheckpointError(f"it has neither `model` nor `ema`; its keys are {keys or 'none'}", hint=_bare_hint(content))


def _own_path(module: Record) -> str:
    """Name of a class without the package that its repository may have been put into, such as `yolov5.`.

    Nothing of that name is run or imported; what the class computes is compared with ours, part by part.
    """
    parts = module.kind.path.split(".")
    start = next((number for number, part in enumerate(parts[:-1]) if part in ("models", "utils", "torch")), 0)
    return ".".join(parts[start:])


def _bare_hint(found: Any) -> str:
    is_bare = isinstance(found, dict) and any(isinstance(value, TensorRecord) for value in found.values())
    return "tensors alone do not say which model they belong to; give the whole checkpoint" if is_bare else _HINT


def _refuse_other_kinds(tree: ModuleTree) -> None:
    for name, module in tree.modules.items():
        path = _own_path(module)
        if path in _OTHER_MODELS:
            raise CheckpointError(f"module `{printable(name)}` is {_OTHER_MODELS[path]} (`{module.kind}`)")
        if path.startswith("models.experimental."):
            raise CheckpointError(f"module `{printable(name)}` is an experimental block (`{module.kind}`)")
        if path.split(".")[0] not in ("models", "utils", "torch"):
            raise CheckpointError(f"module `{printable(name)}` is `{module.kind}`, which is none of YOLOv5's")


def _definition_of(model: Record) -> dict[str, Any]:
    table = model.attribute("yaml")
    if not isinstance(table, dict):
        raise CheckpointError(f"the `yaml` of its model is {described(table)}, not a definition")
    content = {key: value for key, value in table.items() if key in KEYS}  # YOLOv5 ignores all other keys
    definition: dict[str, Any] = plain(content, "the definition of its model")
    return definition


def _names_of(model: Record, num_classes: Any) -> tuple[str, ...]:
    given = model.attribute("names")
    if isinstance(given, dict):
        if sorted(key for key in given if type(key) is int) != list(range(len(given))):
            raise CheckpointError("the class ids in its `names` do not run from 0 upwards")
        given = [given[class_id] for class_id in range(len(given))]
    if not isinstance(given, list | tuple) or not given:
        raise CheckpointError(f"the `names` of its classes are {described(given)}")
    names = tuple(str(name) for name in plain(list(given), "the list of its class names"))
    if len(names) != num_classes:
        raise CheckpointError(f"it has {counted(len(names), 'class name')} for {described(num_classes)} classes")
    return names


def refuse_repeated_bytes(wanted: dict[str, TensorRecord], file_bytes: int) -> None:
    """Refuse tensors that need more bytes than the file has: a small file may name the same bytes many times."""
    total = sum(record.storage.count * dtype_of(name, record).itemsize for name, record in wanted.items())
    if total > file_bytes:
        raise CheckpointError(f"its tensors lie in {total} bytes, more than the {file_bytes} of the file")


def _check_strides(model: Record, stride_px: tuple[int, ...], stored: StoredTensors) -> None:
    strides = model.attribute("stride")
    if not isinstance(strides, TensorRecord) or strides.size != (len(stride_px),):
        return
    found = stored.load("stride", strides).tolist()
    if found != list(stride_px):
        raise CheckpointError(f"its strides are {found}, by its definition {list(stride_px)}")
