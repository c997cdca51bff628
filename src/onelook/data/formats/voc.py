"""The images of a split in the format of Pascal VOC, and the labels of each from its XML file."""

from __future__ import annotations

from collections.abc import Mapping

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.label_paths import annotated_source
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, SizeHw
from onelook.data.formats.listing import ListedImage, ListedObject, collect
from onelook.data.formats.object_rows import RowCollector
from onelook.data.formats.row_rules import RefusedRow, refused_file
from onelook.data.formats.voc_file import MAX_BYTES, VocObject, parse_voc


def open_voc(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images of a split and the reader of their XML files; errors as of `annotated_source`."""
    class_of_name = spec.class_of_name(single_cls)
    return annotated_source(
        spec,
        split,
        suffix=".xml",
        max_bytes=MAX_BYTES,
        rules=f"{spec.rules(single_cls)} {spec.keep_difficult}",
        parse=lambda data, size_hw: voc_rows(data, size_hw, class_of_name, keep_difficult=spec.keep_difficult),
    )


def voc_rows(
    data: bytes, size_hw: SizeHw, class_of_name: Mapping[str, int] | None, *, keep_difficult: bool
) -> LabelRows:
    """The rows of a VOC file; never raises for what is in it.

    Args:
        data: the XML file.
        size_hw: height and width of the image after EXIF rotation, pixels; (0, 0) if it cannot be read.
        class_of_name: class name -> class id; None makes all objects class 0.
        keep_difficult: use objects that are marked as difficult, like all others.
    """
    try:
        file = parse_voc(data)
    except RefusedRow as problem:
        return refused_file(str(problem))
    things = [_listed(entry, number, keep_difficult) for number, entry in enumerate(file.objects, start=1)]
    rows = RowCollector()
    collect(rows, ListedImage("", file.size_hw, things), size_hw, class_of_name)
    return rows.rows(b"")


def _listed(entry: VocObject, number: int, keep_difficult: bool) -> ListedObject:
    place = f"object {number}"
    try:
        if entry.is_difficult and not keep_difficult:
            raise RefusedRow("marked as difficult", "ignored")
        return ListedObject(place, str(entry), entry.name, entry.corners)
    except RefusedRow as problem:
        return ListedObject(place, str(entry), problem=problem)
