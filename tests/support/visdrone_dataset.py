"""VisDrone datasets of a few tiny images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from small_dataset import pixels

from onelook.data.dataset_spec import DatasetSpec, load_dataset_spec

BOX = (2, 3, 10, 8)


def row(
    category: object = 4, box: tuple[object, ...] = BOX, *, score: object = 1, truncation: object = 0, more: str = ""
) -> str:
    """A row for an image of 20 x 16 pixels; category 4 is a car."""
    return ",".join(map(str, (*box, score, category, truncation, 0))) + more + "\n"


def make_visdrone(folder: Path, files: Mapping[str, str | bytes | None], *, yaml: str = "") -> DatasetSpec:
    """A dataset of the format visdrone: a 20 x 16 image per item, with that text (None: no file); val is like train.

    Args:
        folder: where it goes.
        files: image name without suffix -> label text.
        yaml: more of the YAML; without `names`, the classes are those of VisDrone.
    """
    for part in ("images", "annotations"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, (name, text) in enumerate(files.items()):
        (folder / f"images/{name}.png").write_bytes(pixels(number))
        if text is not None:
            data = text if isinstance(text, bytes) else text.encode()
            (folder / f"annotations/{name}.txt").write_bytes(data)
    entry = "{images: images, annotations: annotations}"
    (folder / "data.yaml").write_text(f"format: visdrone\ntrain: {entry}\nval: {entry}\n{yaml}")
    return load_dataset_spec(folder / "data.yaml")
