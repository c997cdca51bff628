"""What two runs of the same settings have in common, file by file."""

from __future__ import annotations

import json
from pathlib import Path

from onelook.runs.checkpoint import load_checkpoint


def content_of(path: Path) -> bytes:
    """The bytes of a file; of a checkpoint, all but those that say which run wrote it, and when."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    checkpoint = load_checkpoint(path)
    document = {key: value for key, value in checkpoint.document.items() if key not in ("run", "sha256")}
    tensors = b"".join(
        f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes()
        for name, tensor in sorted(checkpoint.tensors.items())
    )
    return json.dumps(document, sort_keys=True).encode() + tensors
