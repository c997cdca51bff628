"""Which files this user's own exports wrote: a TorchScript file or a TensorRT engine is a program, not data.

A list beside the file would prove nothing, since whoever hands over the file can hand over the list. So the SHA-256 of
such a file is noted in the user's cache folder when `onelook export` writes it, and only noted files are opened.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from onelook.errors import CheckpointError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.cache_folder import default_cache_folder


def remember(data: bytes) -> None:
    """Note that this user's export wrote `data`."""
    note = _note(data)
    note.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(note, b"")


def refuse_others(data: bytes, path: Path) -> None:
    """Refuse a program that this user's exports did not write.

    Raises:
        CheckpointError: `data`, the content of `path`, was not noted.
    """
    if not _note(data).is_file():
        raise CheckpointError(
            f"exported model `{path}` is a program that was not exported by you on this machine: it is not opened",
            hint="export the checkpoint here, or use another format, such as onnx",
        )


def _note(data: bytes) -> Path:
    return default_cache_folder() / "exported-programs" / hashlib.sha256(data).hexdigest()
