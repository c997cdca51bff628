"""The images of a split in the format of LabelMe, and the labels of each from its JSON file."""

from __future__ import annotations

from collections.abc import Mapping

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.label_paths import annotated_source
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, SizeHw
from onelook.data.formats.labelme_file import MAX_BYTES, parse_labelme
from onelook.data.formats.listing import collect
from onelook.data.formats.object_rows import RowCollector
from onelook.data.formats.row_rules import RefusedRow, refused_file


def open_labelme(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images of a split and the reader of their JSON files; errors as of `annotated_source`."""
    class_of_name = spec.class_of_name(single_cls)
    return annotated_source(
        spec,
        split,
        suffix=".json",
        max_bytes=MAX_BYTES,
        rules=spec.rules(single_cls),
        parse=lambda data, size_hw: labelme_rows(data, size_hw, class_of_name),
    )


def labelme_rows(data: bytes, size_hw: SizeHw, class_of_name: Mapping[str, int] | None) -> LabelRows:
    """The rows of a LabelMe file; never raises for what is in it.

    Args:
        data: the file.
        size_hw: height and width of the image after EXIF rotation, in pixels; (0, 0) if it cannot be read.
        class_of_name: class name -> class id; None makes all objects class 0.
    """
    try:
        image = parse_labelme(data)
    except RefusedRow as problem:
        return refused_file(str(problem))
    rows = RowCollector()
    collect(rows, image, size_hw, class_of_name)
    return rows.rows(b"")
