"""Descriptions of well-known public datasets, as `onelook download NAME` takes them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

# name -> what it is
PUBLIC_SETS = {
    "coco": "COCO 2017: 118,287 images to train on, 5,000 to validate on, 80 classes; 20 GB to fetch",
    "coco-val": "the validation images of COCO 2017 alone, for a quick try or a measurement; 1 GB to fetch",
    "voc2007": "Pascal VOC 2007: 5,011 and 4,952 images, 20 classes; to be fetched and unpacked by hand",
    "voc2012": "Pascal VOC 2012: 5,717 and 5,823 images, 20 classes; to be fetched and unpacked by hand",
    "visdrone": "VisDrone-DET: 6,471, 548 and 1,610 images from drones, 10 classes; to be fetched by hand",
    "objects365": "Objects365 v2: 1,742,289 and 80,000 images, 365 classes; to be fetched by hand",
    "lvis": "LVIS v1: 100,170 and 19,809 images of COCO, 1,203 classes; labels to be fetched by hand",
}


def description_of(name: str) -> Path:
    """The YAML of a public dataset."""
    return Path(str(resources.files("onelook.data.sets") / f"{name}.yaml"))
