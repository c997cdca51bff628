"""YOLO label files: one text file per image, one object per row, each row judged by itself.

A row is `class x-centre y-centre width height` or `class x1 y1 x2 y2 x3 y3 ...`, all but the class as a fraction of the
image's width or height. In a dataset with `kpt_shape`, keypoints may follow a box, and there are no polygons. Blank
rows do not count; tabs, CRLF and a byte-order mark are fine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from onelook.data.dataset_spec import DatasetSpec, split_images
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, paired_source
from onelook.data.formats.object_rows import LARGEST, RowCollector, shown
from onelook.data.formats.row_rules import (
    TOLERANCE,
    WHOLE,
    RefusedRow,
    Values,
    box_around,
    inside,
    may_be_corners,
    refused_file,
    without_mark,
)
from onelook.data.formats.yolo_bulk import MAX_BULK_BYTES, parse_clean
from onelook.errors import DataError, counted
from onelook.files.bounded import read_bounded
from onelook.files.fault_kinds import Remark

MAX_FILE_BYTES = 1 << 24
MAX_LINE_BYTES = 1 << 20
_SEPARATORS = {b",": "commas", b";": "semicolons", "\N{NO-BREAK SPACE}".encode(): "no-break spaces"}

_ODD = b"?"  # a text that is read on its own
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# Of the keypoints of an object nearly all lie in its box, and mostly they span it. The polygon of an object that
# happens to start like a box rarely does both; and it never leaps, as from the size of a box to a keypoint.
MOST_INSIDE = 0.8
LEAST_SPAN = 0.5
LEAP = 2.0
_VISIBILITIES = (0.0, 1.0, 2.0)


def open_yolo(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images of a split and the reader of their label files.

    Raises:
        DataError: the split is not in the YAML, one of its entries does not exist, or it holds no image.
    """
    images, unread = split_images(spec, split)
    folders = [str(entry) for entry in spec.splits[split] if os.path.isdir(entry)]  # noqa: PTH112 - as for images
    num_classes, keypoints = None if single_cls else len(spec.names), spec.keypoint_columns
    return paired_source(
        images,
        [label_path_of(image) for image in images],
        rules=f"yolo {num_classes} {keypoints}",
        roots=[(folder, os.path.dirname(label_path_of(f"{folder}{os.sep}x.jpg"))) for folder in folders],  # noqa: PTH120
        unread=unread,
        read=lambda paths, _sizes_hw: read_many(paths, num_classes, keypoint_columns=keypoints),
        may_fork=True,
    )


def label_path_of(image_path: str) -> str:
    """The label file of an image: the last `/images/` becomes `/labels/`, the suffix `.txt`; else it lies beside.

    >>> label_path_of("/data/images/train/a.jpg")
    '/data/labels/train/a.txt'
    """
    folder, found, rest = image_path.rpartition(f"{os.sep}images{os.sep}")
    path = f"{folder}{os.sep}labels{os.sep}{rest}" if found else image_path
    return os.path.splitext(path)[0] + ".txt"  # noqa: PTH122 - there are millions


def read_labels(path: str, num_classes: int | None, *, keypoint_columns: int = 0) -> LabelRows:
    """The rows of a label file that exists; never raises for what is in it.

    Args:
        num_classes: class ids must be below; None accepts all.
        keypoint_columns: number of columns that may follow a box; 0 if there are polygons and no keypoints.
    """
    try:
        data = read_bounded(path, MAX_FILE_BYTES)
    except DataError as problem:
        return refused_file(problem.message)
    return parse_labels(data, num_classes, keypoint_columns=keypoint_columns)


def read_many(paths: Sequence[str], num_classes: int | None, *, keypoint_columns: int = 0) -> list[LabelRows]:
    """As `read_labels`, of many label files at once, and much faster."""
    texts: list[bytes] = []
    for path in paths:
        try:
            texts.append(read_bounded(path, MAX_BULK_BYTES))
        except DataError:  # also of a file that is too large to be read together with others
            texts.append(_ODD)
    return [
        read_labels(path, num_classes, keypoint_columns=keypoint_columns) if rows is None else rows
        for path, rows in zip(paths, parse_clean(texts, num_classes), strict=True)
    ]


def parse_labels(data: bytes, num_classes: int | None, *, keypoint_columns: int = 0) -> LabelRows:
    """The rows of a label file with this content, with a reason for each that is not used as it stands.

    Used as they are: boxes inside the image (1e-6 over its edge is the last written digit) and polygons likewise.
    Clipped: what leaves the image but has its centre inside, with 1e-3 to spare; polygons point by point. Dropped:
    exact repetitions of a used row. Refused: all else, each with its reason.
    """
    try:
        data = without_mark(data)
    except RefusedRow as problem:
        return refused_file(str(problem))
    rows, with_keypoints = RowCollector("a row"), 0
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        text = partial(shown, line.replace(b"\t", b" "))
        try:
            class_id, written = _numbers(line, num_classes, keypoint_columns)
            shape = written[:4] if keypoint_columns else written
            used, comment = inside(shape)
        except RefusedRow as problem:
            if problem.kind == "outside":
                problem = RefusedRow(f"{problem} (0 to 1); are these pixels?", kind="outside")
            rows.refuse(number, text, problem)
            continue
        if not rows.is_new(number, text, class_id, written):
            continue
        polygon = used.reshape(-1, 2) if len(used) > 4 else np.zeros((0, 2))
        box = box_around(polygon) if len(polygon) else used
        rows.keep(number, text, class_id=class_id, box=box, polygon=polygon, comment=comment)
        with_keypoints += not comment and len(written) > len(shape)
        for doubt in _doubts(shape, box):
            rows.doubt(number, text, doubt)
    return replace(rows.rows(), rows_with_keypoints=with_keypoints)


def _doubts(shape: Values, box: Values) -> list[Remark]:
    """What is suspicious about a row that can be used: its numbers as written, and its box as used, (4,) cxcywh."""
    doubts = []
    if len(shape) > 4 and may_be_keypoints(shape):
        doubts.append(Remark("read as a polygon, but it looks like a box and keypoints", "keypoint-row"))
    if len(shape) == 4 and may_be_corners(*shape.reshape(2, 2).tolist(), excess=_excess(shape)):
        doubts.append(Remark("read as centre and size, but it looks like two corners", "corner-row"))
    is_as_written = len(shape) == 4 and np.array_equal(shape, box)
    if not is_as_written and box[2:].min() >= WHOLE:
        doubts.append(Remark("its box has become the whole image", "whole-image"))
    return doubts


def may_be_keypoints(written: Values) -> bool:
    """Whether the coordinates of a polygon, (2 P,) with P at least 3, may rather be a box and keypoints."""
    centre, size = written[:2], written[2:4]
    is_box = size.min() > 0 and (centre - size / 2).min() >= -TOLERANCE and (centre + size / 2).max() <= 1 + TOLERANCE
    return bool(is_box) and any(_are_keypoints(written, num_columns) for num_columns in (2, 3))


def _are_keypoints(written: Values, num_columns: int) -> bool:
    """Whether what follows the box are keypoints of two or three columns each, the third being visibility."""
    centre, size, rest = written[:2], written[2:4], written[4:]
    if len(rest) % num_columns:
        return False
    table = rest.reshape(-1, num_columns)
    if num_columns == 3 and not np.isin(table[:, 2], _VISIBILITIES).all():
        return False
    points = table[:, :2][table[:, :2].any(axis=1)]  # (0, 0) stands for a keypoint that cannot be seen
    if not len(points):
        return False
    is_inside = (np.abs(points - centre) <= size / 2 + TOLERANCE).all(axis=1)
    if is_inside.mean() < MOST_INSIDE:
        return False
    span = (np.ptp(points, axis=0) / size).min()
    middle = points.mean(axis=0)
    reach = np.linalg.norm(points - middle, axis=1).max()
    leaps = len(points) > 2 and np.linalg.norm(size - middle) > LEAP * reach
    return bool(len(points) == 1 or span >= LEAST_SPAN or leaps)


def _excess(box: Values) -> float:
    """How far a box, (4,) cxcywh, leaves the image; negative if it lies within."""
    centre, half = box[:2], box[2:] / 2
    return float(max((half - centre).max(), (centre + half).max() - 1))


def _numbers(line: bytes, num_classes: int | None, keypoint_columns: int) -> tuple[int, Values]:
    """Class id and coordinates of a row, as written."""
    if len(line) > MAX_LINE_BYTES:
        raise RefusedRow(f"the row has {len(line)} bytes, more than the limit of {MAX_LINE_BYTES}")
    columns = line.split()
    for position, column in enumerate(columns, start=1):
        if not _NUMBER.fullmatch(column):
            others = [name for mark, name in _SEPARATORS.items() if mark in column]
            cure = f"; columns are separated by spaces, not by {others[0]}" if others else ""
            raise RefusedRow(f"column {position} is `{shown(column)}`, not a number{cure}")
    if keypoint_columns and len(columns) not in (5, 5 + keypoint_columns):
        raise RefusedRow(
            f"{counted(len(columns), 'column')}; with this `kpt_shape` a row has {5 + keypoint_columns}, "
            "or 5 without keypoints"
        )
    if len(columns) == 6 and not keypoint_columns:
        raise RefusedRow("6 columns; a box has 5 (without a score), a polygon at least 7")
    if not keypoint_columns and len(columns) != 5 and (len(columns) < 7 or len(columns) % 2 == 0):
        raise RefusedRow(f"{counted(len(columns), 'column')}; a box has 5, a polygon an odd number from 7 on")
    values = np.array([float(column) for column in columns])
    if not (np.abs(values) < LARGEST).all():
        raise RefusedRow(f"a number is larger than {LARGEST}")
    class_id = float(values[0])
    if class_id < 0 or not class_id.is_integer():
        raise RefusedRow(f"class id `{shown(columns[0])}` is not a whole number from 0 on")
    if num_classes is not None and class_id >= num_classes:
        reason = f"class id {int(class_id)} is not below the {counted(num_classes, 'class')}"
        raise RefusedRow(reason, "unknown class", str(int(class_id)))
    return int(class_id), values[1:]
