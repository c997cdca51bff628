"""Where the label file of an image is, in formats that keep these in a folder of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


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
