"""From the name of any weights to something that runs: a PyTorch model, or an exported one."""

from __future__ import annotations

from pathlib import Path

import torch

from onelook.errors import CheckpointError, DeviceError, ModelError
from onelook.exports.formats import EXPORTERS, format_of, require
from onelook.exports.running import ExportedModel
from onelook.inference.backend import Backend
from onelook.models.detector import DetectionModel
from onelook.processes.device import select_device
from onelook.processes.threads import limit_threads
from onelook.settings.head import HeadChoice
from onelook.training.weights import is_foreign_onnx, load_detector


def load_runnable(
    path: Path, device: str = "", *, local_rank: int = 0, head: HeadChoice = "auto"
) -> DetectionModel | Backend:
    """The detector in a checkpoint, in evaluation mode and float32, or in an exported file or folder.

    Args:
        path: a checkpoint of ours, of YOLOv5 or of YOLOX, or what `onelook export` wrote.
        device: see `select_device`. Empty takes a GPU only if the format can use one.
        local_rank: see `select_device`.
        head: the branch of its head to keep; an exported model has only one.

    Raises:
        CheckpointError: the file is missing, damaged, or not ours.
        SettingsError: a package is missing.
        DeviceError: the device is absent, or the format cannot use it.
        ModelError: it has no such branch.
    """
    limit_threads()
    chosen = select_device(device, local_rank)
    if format_of(path) is None or is_foreign_onnx(path):
        return load_detector(path, chosen, head=head)
    try:
        export = open_export(path, chosen)
    except DeviceError:
        if device or chosen.type == "cpu":
            raise
        export = open_export(path, torch.device("cpu"))
    if head != "auto" and (head == "many") != export.needs_nms:
        raise ModelError(
            f"exported model `{path}` has no branch `{head}`", hint=f"export the checkpoint again with `--head {head}`"
        )
    return export


def open_export(path: Path, device: torch.device) -> ExportedModel:
    """What `onelook export` wrote to `path`, ready to run on `device`; errors as of `load_runnable`."""
    name = format_of(path)
    if name is None or not path.exists():
        raise CheckpointError(f"exported model `{path}` does not exist")
    kind = EXPORTERS[name]
    if path.is_dir() != (kind.is_folder or kind.is_package):
        raise CheckpointError(f"exported model `{path}` is {'a folder' if path.is_dir() else 'a file'}")
    require(name, kind.runners)
    return kind.open(path, device)
