"""A dataset of a few tiny images, made again for each test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from onelook.data.dataset_spec import DatasetSpec, load_dataset_spec
from onelook.files.images import encode_image

GOOD_ROW = "0 0.5 0.5 0.2 0.1\n"


def pixels(number: int) -> bytes:
    """A 16 x 20 image; another number, another image."""
    rng = np.random.Generator(np.random.Philox(key=number))
    return encode_image(rng.integers(0, 255, (16, 20, 3), np.uint8), ".png")


def make_dataset(
    folder: Path, labels: Mapping[str, str | bytes | None], *, images: Mapping[str, bytes] | None = None
) -> DatasetSpec:
    """A dataset with classes cat and dog: `train` holds one image per item, with that label text (None: no file).

    Args:
        folder: an existing folder.
        labels: image name without suffix -> label text.
        images: image name with suffix -> bytes, instead of or on top of the generated ones.
    """
    for part in ("images/train", "labels/train", "images/val", "labels/val"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, (name, text) in enumerate(labels.items()):
        (folder / f"images/train/{name}.png").write_bytes(pixels(number))
        if text is not None:
            data = text if isinstance(text, bytes) else text.encode()
            (folder / f"labels/train/{name}.txt").write_bytes(data)
    for name, content in (images or {}).items():
        (folder / f"images/train/{name}").write_bytes(content)
    (folder / "images/val/v.png").write_bytes(pixels(1000))
    (folder / "labels/val/v.txt").write_text(GOOD_ROW)
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return load_dataset_spec(folder / "data.yaml")


def tree_digest(folder: Path) -> str:
    """Hash of all names, contents and times below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path} {path.stat().st_mtime_ns}".encode("utf-8", "surrogateescape"))
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()
