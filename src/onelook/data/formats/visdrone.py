"""The images of a split in the format of VisDrone-DET, and the labels of each from its text file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from onelook.data.dataset_spec import DatasetSpec, split_images
from onelook.data.formats.label_paths import annotation_roots, path_below
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, SizeHw, paired_source
from onelook.data.formats.object_rows import UNKNOWN_SIZE, RowCollector, frame_of
from onelook.data.formats.row_rules import RefusedRow
from onelook.data.formats.visdrone_file import MAX_BYTES, parse_row, rows_of, text_of
from onelook.errors import DataError
from onelook.files.bounded import content_digest, read_bounded


def open_visdrone(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images of a split and the reader of their label files.

    Raises:
        DataError: the split is not described, one of its places does not exist, or it holds no image.
    """
    images, unread = split_images(spec, split)
    folders = [str(entry) for entry in spec.splits[split]]
    labels = [path_below(spec.annotations[split], image, folders, suffix=".txt") for image in images]
    num_classes = len(spec.names)
    return paired_source(
        images,
        labels,
        roots=annotation_roots(spec, split),
        unread=unread,
        rules=f"visdrone {num_classes} {'any' if single_cls else 'each'}",
        read=lambda path, size_hw: read_visdrone(path, size_hw, num_classes, single_cls=single_cls),
    )


def read_visdrone(path: str, size_hw: SizeHw, num_classes: int, *, single_cls: bool = False) -> LabelRows:
    """The rows of a label file that exists; never raises for what is in it.

    Args:
        path: the label file.
        size_hw: height and width of the image after EXIF rotation, pixels; (0, 0) if it cannot be read.
        num_classes: category 1 is class 0 and so on; with more than ten classes, category 11 is one of them.
        single_cls: all objects become class 0, whatever category they have.
    """
    try:
        data = read_bounded(path, MAX_BYTES)
    except DataError as problem:
        rows = RowCollector()
        rows.refuse("", str, RefusedRow(problem.message))
        return rows.rows(b"")
    return replace(visdrone_rows(data, size_hw, num_classes, single_cls=single_cls), digest=content_digest(data))


def visdrone_rows(data: bytes, size_hw: SizeHw, num_classes: int, *, single_cls: bool = False) -> LabelRows:
    """As `read_visdrone`, from the bytes of the file."""
    rows = RowCollector()
    try:
        lines = rows_of(data)
    except RefusedRow as problem:
        rows.refuse("", str, problem)
        return rows.rows(b"")
    height, width = frame_of(UNKNOWN_SIZE, size_hw).size_hw
    for number, line in lines:
        written = partial(text_of, line)
        try:
            thing = parse_row(line, num_classes=num_classes)
            if thing.category > num_classes and not single_cls:
                reason = f"category {thing.category} is none of the {num_classes} classes"
                raise RefusedRow(reason, "unknown class", str(thing.category))
        except RefusedRow as problem:
            rows.refuse(number, written, problem)
            continue
        left, top, box_width, box_height = thing.box
        box = np.array([left + box_width / 2, top + box_height / 2, box_width, box_height])
        class_id = 0 if single_cls else thing.category - 1
        rows.add(number, written, class_id=class_id, box=box / [width, height, width, height])
    return rows.rows(b"")
