"""The label formats that can be read."""

from __future__ import annotations

from collections.abc import Callable

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.annotated import open_annotated
from onelook.data.formats.coco import open_coco
from onelook.data.formats.label_source import LabelSource
from onelook.data.formats.listed import open_listed
from onelook.data.formats.parquet import open_parquet
from onelook.data.formats.yolo import open_yolo

# (dataset, split, whether all classes count as one) -> the images and the reader of their labels
FORMATS: dict[str, Callable[[DatasetSpec, str, bool], LabelSource]] = {
    "yolo": open_yolo,
    "coco": open_coco,
    "voc": open_annotated,
    "parquet": open_parquet,
    "visdrone": open_annotated,
    "labelme": open_annotated,
    "labelstudio": open_listed,
    "cvat": open_listed,
    "csv": open_listed,
}
