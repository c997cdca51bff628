"""Where the label file of an image is, in formats that keep these in a folder of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from onelook.data.dataset_spec import DatasetSpec


def annotation_roots(spec: DatasetSpec, split: str) -> list[tuple[str, str]]:
    """The folders of images and of their label files, of a split and of all others with the same label files."""
    annotations = spec.annotations[split]
    return [
        (str(entry), str(annotations))
        for other, entries in spec.splits.items()
        if spec.annotations[other] == annotations
        for entry in entries
    ]


def path_below(annotations: Path, image: str, image_folders: Sequence[str], *, suffix: str) -> str:
    """The label file of an image: below `annotations` as the image lies below its folder, else directly in it.

    >>> path_below(Path("/data/xml"), "/data/images/a/1.jpg", ["/data/images"], suffix=".xml")
    '/data/xml/a/1.xml'
    """
    folder = next((folder for folder in image_folders if image.startswith(folder + os.sep)), None)
    inside = os.path.basename(image) if folder is None else image[len(folder) + 1 :]  # noqa: PTH119
    dot = inside.rfind(".")
    stem = inside[:dot] if dot > inside.rfind(os.sep) + 1 else inside
    return f"{annotations}{os.sep}{stem}{suffix}"
