"""The images of a split in the format of LabelMe, and the labels of each from its JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from onelook.data.dataset_spec import DatasetSpec, split_images
from onelook.data.formats.label_paths import annotation_roots, path_below
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, SizeHw, paired_source
from onelook.data.formats.labelme_file import MAX_BYTES, parse_labelme
from onelook.data.formats.listing import collect
from onelook.data.formats.object_rows import RowCollector
from onelook.data.formats.row_rules import RefusedRow
from onelook.errors import DataError
from onelook.files.bounded import content_digest, read_bounded


def open_labelme(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images of a split and the reader of their JSON files.

    Raises:
        DataError: the split is not described, one of its places does not exist, or it holds no image.
    """
    images, unread = split_images(spec, split)
    folders = [str(entry) for entry in spec.splits[split]]
    labels = [path_below(spec.annotations[split], image, folders, suffix=".json") for image in images]
    class_of_name = None if single_cls else {name: class_id for class_id, name in enumerate(spec.names)}
    return paired_source(
        images,
        labels,
        roots=annotation_roots(spec, split),
        unread=unread,
        rules=f"labelme {'any' if single_cls else json.dumps(spec.names)}",
        read=lambda path, size_hw: read_labelme(path, size_hw, class_of_name),
    )


def read_labelme(path: str, size_hw: SizeHw, class_of_name: Mapping[str, int] | None) -> LabelRows:
    """The rows of a LabelMe file that exists; never raises for what is in it.

    Args:
        path: the JSON file.
        size_hw: height and width of the image after EXIF rotation, in pixels; (0, 0) if it cannot be read.
        class_of_name: class name -> class id; None makes all objects class 0.
    """
    try:
        data = read_bounded(path, MAX_BYTES)
    except DataError as problem:
        rows = RowCollector()
        rows.refuse("", str, RefusedRow(problem.message))
        return rows.rows(b"")
    return replace(labelme_rows(data, size_hw, class_of_name), digest=content_digest(data))


def labelme_rows(data: bytes, size_hw: SizeHw, class_of_name: Mapping[str, int] | None) -> LabelRows:
    """As `read_labelme`, from the bytes of the file."""
    rows = RowCollector()
    try:
        collect(rows, parse_labelme(data), size_hw, class_of_name)
    except RefusedRow as problem:
        rows.refuse("", str, problem)
    return rows.rows(b"")
