"""COCO files: one made of any dataset that a scan has read, and small ones as a test wants them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from small_dataset import pixels

from onelook.data.dataset_spec import DatasetSpec, load_dataset_spec

CATEGORIES = ({"id": 3, "name": "cat"}, {"id": 17, "name": "dog"})


def box(image: Any = 1, category: Any = 3, bbox: Any = (2, 3, 10, 8), **more: Any) -> dict[str, Any]:
    """An annotation of an image of 20 x 16 pixels."""
    return {"image_id": image, "category_id": category, "bbox": bbox, **more}


def make_coco(
    folder: Path,
    annotations: Sequence[Any],
    *,
    images: Sequence[Mapping[str, Any]] = ({"id": 1, "file_name": "a.png"},),
    categories: Sequence[Any] = CATEGORIES,
    yaml: str = "",
) -> DatasetSpec:
    """A dataset of the format coco with 20 x 16 images; its training and validation files are alike."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        name = str(image["file_name"])
        if "/" not in name:
            (folder / "images" / name).write_bytes(pixels(number))
    content = {"images": list(images), "annotations": list(annotations), "categories": list(categories)}
    (folder / "instances.json").write_text(json.dumps(content))
    entry = "{images: images, annotations: instances.json}"
    (folder / "data.yaml").write_text(f"format: coco\ntrain: {entry}\nval: {entry}\n{yaml}")
    return load_dataset_spec(folder / "data.yaml")
