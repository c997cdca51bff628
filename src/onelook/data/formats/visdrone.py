"""The images of a split in the format of VisDrone-DET, and the labels of each from its text file."""

from __future__ import annotations

from functools import partial

import numpy as np

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.label_paths import annotated_source
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, SizeHw
from onelook.data.formats.object_rows import UNKNOWN_SIZE, RowCollector, frame_of
from onelook.data.formats.row_rules import RefusedRow, refused_file
from onelook.data.formats.visdrone_file import MAX_BYTES, parse_row, rows_of, text_of


def open_visdrone(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images of a split and the reader of their label files; errors as of `annotated_source`."""
    num_classes = len(spec.names)
    return annotated_source(
        spec,
        split,
        suffix=".txt",
        max_bytes=MAX_BYTES,
        rules=f"visdrone {num_classes} {'any' if single_cls else 'each'}",
        parse=lambda data, size_hw: visdrone_rows(data, size_hw, num_classes, single_cls=single_cls),
    )


def visdrone_rows(data: bytes, size_hw: SizeHw, num_classes: int, *, single_cls: bool = False) -> LabelRows:
    """The rows of a label file; never raises for what is in it.

    Args:
        data: the label file.
        size_hw: height and width of the image after EXIF rotation, pixels; (0, 0) if it cannot be read.
        num_classes: category 1 is class 0 and so on; with more than ten classes, category 11 is one of them.
        single_cls: all objects become class 0, whatever category they have.
    """
    try:
        lines = rows_of(data)
    except RefusedRow as problem:
        return refused_file(str(problem))
    rows = RowCollector()
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
