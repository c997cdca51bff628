"""Exports that are a folder of files: their metadata lies beside the model."""

from __future__ import annotations

from pathlib import Path

import torch

from onelook.errors import CheckpointError, DataError, DeviceError
from onelook.exports.metadata import MAX_CHARACTERS, Metadata, read_metadata
from onelook.files.atomic import write_text_atomic
from onelook.files.bounded import read_bounded

METADATA = "metadata.json"


def write_folder_metadata(folder: Path, metadata: Metadata) -> None:
    write_text_atomic(folder / METADATA, metadata.as_json() + "\n")


def read_folder_metadata(folder: Path) -> Metadata:
    """The metadata of the export in `folder`.

    Raises:
        CheckpointError: there is none, or it is not what `onelook export` writes.
    """
    path = folder / METADATA
    if not path.is_file():
        return read_metadata(None, folder.name)
    try:
        text = read_bounded(path, MAX_CHARACTERS).decode("utf-8")
    except (DataError, UnicodeDecodeError) as problem:
        raise CheckpointError(f"exported model `{folder}`: `{METADATA}` cannot be read: {problem}") from problem
    return read_metadata(text, folder.name)


def file_of(folder: Path, name: str) -> Path:
    """The file `name` of the export in `folder`; CheckpointError if it is missing."""
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"exported model `{folder}` has no file `{name}`", hint="export the checkpoint again")
    return path


def require_cpu(device: torch.device, run_time: str) -> None:
    """Refuse every device but the CPU, the only one that `run_time` is used on; DeviceError if it is another one."""
    if device.type != "cpu":
        raise DeviceError(f"{run_time} exports run on the CPU, not on `{device}`", hint="use `--device cpu`")
