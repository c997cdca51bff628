"""The images of a split in the format of Pascal VOC, and the labels of each from its XML file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from onelook.data.dataset_spec import DatasetSpec, split_images
from onelook.data.formats.label_paths import annotation_roots, path_below
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, SizeHw, paired_source
from onelook.data.formats.object_rows import RowCollector, frame_of, shown
from onelook.data.formats.row_rules import RefusedRow
from onelook.data.formats.voc_file import MAX_BYTES, VocObject, parse_voc
from onelook.errors import DataError
from onelook.files.bounded import content_digest, read_bounded


def open_voc(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images of a split and the reader of their XML files.

    Raises:
        DataError: the split is not described, one of its places does not exist, or it holds no image.
    """
    images, unread = split_images(spec, split)
    folders = [str(entry) for entry in spec.splits[split]]
    labels = [path_below(spec.annotations[split], image, folders, suffix=".xml") for image in images]
    class_of_name = None if single_cls else {name: class_id for class_id, name in enumerate(spec.names)}
    keep_difficult = spec.keep_difficult
    return paired_source(
        images,
        labels,
        roots=annotation_roots(spec, split),
        unread=unread,
        rules=f"voc {'any' if single_cls else json.dumps(spec.names)} {keep_difficult}",
        read=lambda path, size_hw: read_voc(path, size_hw, class_of_name, keep_difficult=keep_difficult),
    )


def read_voc(path: str, size_hw: SizeHw, class_of_name: Mapping[str, int] | None, *, keep_difficult: bool) -> LabelRows:
    """The rows of a VOC file that exists; never raises for what is in it.

    Args:
        path: the XML file.
        size_hw: height and width of the image after EXIF rotation, pixels; (0, 0) if it cannot be read.
        class_of_name: class name -> class id; None makes all objects class 0.
        keep_difficult: use objects that are marked as difficult, like all others.
    """
    rows = RowCollector()
    try:
        data = read_bounded(path, MAX_BYTES)
    except DataError as problem:
        rows.refuse("", str, RefusedRow(problem.message))
        return rows.rows(b"")
    return replace(voc_rows(data, size_hw, class_of_name, keep_difficult=keep_difficult), digest=content_digest(data))


def voc_rows(
    data: bytes, size_hw: SizeHw, class_of_name: Mapping[str, int] | None, *, keep_difficult: bool
) -> LabelRows:
    """As `read_voc`, from the bytes of the file."""
    rows = RowCollector()
    try:
        file = parse_voc(data)
    except RefusedRow as problem:
        rows.refuse("", str, problem)
        return rows.rows(b"")
    for number, entry in enumerate(file.objects, start=1):
        place = f"object {number}"
        try:
            class_id = _class_of(entry, class_of_name)
            if entry.is_difficult and not keep_difficult:
                raise RefusedRow("marked as difficult", "ignored")
            frame = frame_of(file.size_hw, size_hw)
            left, top, right, bottom = entry.corners
        except RefusedRow as problem:
            rows.refuse(place, entry.__str__, problem)
            continue
        if frame.note:
            rows.note(frame.note)
        height, width = frame.size_hw
        box = np.array([(left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width,
                        (bottom - top) / height])  # fmt: skip
        rows.add(place, entry.__str__, class_id=class_id, box=box)
    return rows.rows(b"")


def _class_of(entry: VocObject, class_of_name: Mapping[str, int] | None) -> int:
    name = entry.name
    if class_of_name is None:
        return 0
    if name not in class_of_name:
        reason = f"class `{shown(name)}` is not among the {len(class_of_name)} classes"
        raise RefusedRow(reason, "unknown class", shown(name))
    return class_of_name[name]
