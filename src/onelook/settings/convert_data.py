"""Every option of a conversion of data. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from onelook.settings.strict_settings import StrictSettings


class ConvertDataSettings(StrictSettings):
    """All settings of `onelook convert-data`."""

    data: Path
    """Dataset to convert: its YAML, or a folder or file in a known layout."""
    to: Literal["yolo", "coco", "voc", "labelme", "cvat"]
    """Format of the labels that are written."""
    out: Path
    """Folder of the new dataset; it must not exist yet."""
    split: float = Field(0.0, ge=0, lt=1)
    """Share of the images for training, the rest for validation, of a dataset without splits; 0 keeps its own."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Random seed of `split`."""
    images: Literal["copy", "link"] = Field("copy")
    """Whether the images are copied, or symbolic links to the originals are made, which take no space."""
    strict: bool = Field(False)
    """Fail if any image or label row cannot be used, and so would be missing from the new dataset."""
    allow_unlabelled: bool = Field(False)
    """Accept that most images have no label file."""
