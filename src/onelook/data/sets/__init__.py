"""Descriptions of well-known public data sets, as `onelook download NAME` takes them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

# name -> what it is
PUBLIC_SETS = {
    "coco": "COCO 2017: 118,287 pictures to train on, 5,000 to validate on, 80 classes; 20 GB to fetch",
    "coco-val": "the validation pictures of COCO 2017 alone, for a quick try or a measurement; 1 GB to fetch",
    "voc2007": "Pascal VOC 2007: 5,011 and 4,952 pictures, 20 classes; to be fetched and unpacked by hand",
    "voc2012": "Pascal VOC 2012: 5,717 and 5,823 pictures, 20 classes; to be fetched and unpacked by hand",
    "visdrone": "VisDrone-DET: 6,471, 548 and 1,610 pictures from drones, 10 classes; to be fetched by hand",
    "objects365": "Objects365 v2: 1,742,289 and 80,000 pictures, 365 classes; to be fetched by hand",
    "lvis": "LVIS v1: 100,170 and 19,809 pictures of COCO, 1,203 classes; labels to be fetched by hand",
}


def description_of(name: str) -> Path:
    """The YAML of a public data set."""
    return Path(str(resources.files("onelook.data.sets") / f"{name}.yaml"))
