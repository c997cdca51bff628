"""Datasets in other formats: the texts to write, and the description by which they are read again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from xml.sax.saxutils import escape

import numpy as np

from onelook.data.formats.written_numbers import (
    boxes_around_polygons,
    boxes_xywh_px,
    boxes_xyxy_px,
    polygons_px,
    text_of,
)
from onelook.data.formats.yolo import label_path_of
from onelook.errors import DataError
from onelook.files.bounded import printable
from onelook.structures.dataset_index import DatasetIndex

# How far the box of a label may be from the box around its polygon where only one of them can be written, pixels.
SAME_BOX_PX = 0.01


@dataclass(frozen=True)
class SplitToWrite:
    """A split and what it is to be called.

    Attributes:
        index: its images and labels.
        inside: (N,) path of each image below `folder`, with `/`.
        folder: of the images, below that of the dataset.
    """

    split: str
    index: DatasetIndex
    inside: Sequence[str]
    folder: str


class LabelWriter(Protocol):
    """What a format needs to be written."""

    def folder_of(self, split: str, *, names_differ: bool) -> str:
        """The folder of the images of a split; `names_differ`: no two images of the dataset have the same name."""

    def texts(self, part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Path below the folder of the dataset and content of each file of a split, images excepted."""

    def description(self, parts: Sequence[SplitToWrite], names: Sequence[str]) -> dict[str, Any]:
        """What `data.yaml` says."""

    def losses(self, index: DatasetIndex) -> Mapping[str, int]:
        """What of a split cannot be written: words for it -> how many."""


class YoloWriter:
    """A text file per image; a polygon takes the place of its box."""

    def folder_of(self, split: str, *, names_differ: bool) -> str:
        return f"images/{split}"

    def texts(self, part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        require_stems(part)
        is_box = has_another_box(part.index)
        for image, inside in enumerate(part.inside):
            path = label_path_of(f"{os.sep}{part.folder}/{inside}")[1:]
            yield path, yolo_rows(part.index, image, is_box).encode()

    def description(self, parts: Sequence[SplitToWrite], names: Sequence[str]) -> dict[str, Any]:
        return {"path": ".", **{part.split: part.folder for part in parts}, "names": list(names)}

    def losses(self, index: DatasetIndex) -> Mapping[str, int]:
        return {"polygons that are not in the box of their object": int(has_another_box(index).sum())}


class CocoWriter:
    """A JSON file per split; category ids count from 1."""

    def folder_of(self, split: str, *, names_differ: bool) -> str:
        return f"images/{split}"

    def texts(self, part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        content = {
            "images": [
                {"id": number, "file_name": inside, "width": width, "height": height}
                for number, (inside, (height, width)) in enumerate(
                    zip(part.inside, part.index.sizes_hw.tolist(), strict=True), start=1
                )
            ],
            "annotations": _coco_annotations(part.index),
            "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        }
        yield f"annotations/instances_{part.split}.json", json.dumps(content).encode()

    def description(self, parts: Sequence[SplitToWrite], names: Sequence[str]) -> dict[str, Any]:
        places = {
            part.split: {"images": part.folder, "annotations": f"annotations/instances_{part.split}.json"}
            for part in parts
        }
        return {"path": ".", "format": "coco", **places, "names": list(names)}

    def losses(self, index: DatasetIndex) -> Mapping[str, int]:
        return {}


class VocWriter:
    """An XML file per image, and lists of the images; there is no place for polygons."""

    def folder_of(self, split: str, *, names_differ: bool) -> str:
        return "JPEGImages" if names_differ else f"JPEGImages/{split}"

    def texts(self, part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        require_stems(part)
        require_plain(names)
        boxes = boxes_xyxy_px(part.index).tolist()
        for image, inside in enumerate(part.inside):
            yield f"{_annotations_of(part)}/{stem_of(inside)}.xml", _voc_document(part, image, boxes, names).encode()
        yield f"ImageSets/Main/{part.split}.txt", b"".join(map(_line, part.inside))

    def description(self, parts: Sequence[SplitToWrite], names: Sequence[str]) -> dict[str, Any]:
        places = {
            part.split: {
                "images": part.folder,
                "annotations": _annotations_of(part),
                "list": f"ImageSets/Main/{part.split}.txt",
            }
            for part in parts
        }
        return {"path": ".", "format": "voc", **places, "names": list(names)}

    def losses(self, index: DatasetIndex) -> Mapping[str, int]:
        return {"polygons": len(boxes_around_polygons(index)[0])}


def yolo_rows(index: DatasetIndex, image: int, is_box: Sequence[bool] | np.ndarray[Any, Any] | None = None) -> str:
    """The label file of an image: class and box, or polygon, of each label, bit for bit.

    Args:
        is_box: (M,) labels that are written as a box although they have a polygon; None means none.
    """
    rows = []
    for label in range(*index.labels_of(image).indices(len(index.class_ids))):
        polygon = None if is_box is not None and is_box[label] else index.polygon_of(label)
        numbers = index.boxes[label] if polygon is None else polygon.reshape(-1)
        rows.append(" ".join([str(int(index.class_ids[label])), *map(str, numbers)]))
    return "".join(f"{row}\n" for row in rows)


def _coco_annotations(index: DatasetIndex) -> list[dict[str, Any]]:
    boxes, points = boxes_xywh_px(index).tolist(), polygons_px(index)
    starts, class_ids = index.polygon_offsets.tolist(), index.class_ids.tolist()
    image_ids = np.repeat(np.arange(1, len(index) + 1), np.diff(index.offsets)).tolist()
    annotations = []
    for label, box in enumerate(boxes):
        polygon = points[starts[label] : starts[label + 1]]
        annotations.append(
            {
                "id": label + 1,
                "image_id": image_ids[label],
                "category_id": class_ids[label] + 1,
                "bbox": box,
                "area": _area(polygon) if len(polygon) else box[2] * box[3],
                "segmentation": [polygon.reshape(-1).tolist()] if len(polygon) else [],
                "iscrowd": 0,
            }
        )
    return annotations


def _area(points: np.ndarray[Any, Any]) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def _voc_document(part: SplitToWrite, image: int, boxes: Sequence[Sequence[float]], names: Sequence[str]) -> str:
    height, width = part.index.size_of(image)
    lines = [
        "<annotation>",
        f"  <filename>{escape(printable(part.inside[image]))}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for label in range(*part.index.labels_of(image).indices(len(boxes))):
        name = escape(names[int(part.index.class_ids[label])])
        corners = "".join(
            f"<{corner}>{text_of(value)}</{corner}>"
            for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), boxes[label], strict=True)
        )
        lines.append(f"  <object><name>{name}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>")
    return "\n".join([*lines, "</annotation>", ""])


def _annotations_of(part: SplitToWrite) -> str:
    return part.folder.replace("JPEGImages", "Annotations", 1)


def has_another_box(index: DatasetIndex) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(M,) labels with a polygon whose box is not the one around it."""
    labels, around = boxes_around_polygons(index)
    sides = np.repeat(index.sizes_hw[:, ::-1], np.diff(index.offsets), axis=0)[labels]
    is_apart = np.zeros(len(index.class_ids), bool)
    is_apart[labels] = (np.abs(around - index.boxes[labels]) * np.tile(sides, 2) > SAME_BOX_PX).any(axis=1)
    return is_apart


def require_stems(part: SplitToWrite) -> None:
    """Raise DataError if two images differ in their suffix only, and so would have one label file."""
    first: dict[str, str] = {}
    for inside in part.inside:
        other = first.setdefault(stem_of(inside), inside)
        if other != inside:
            raise DataError(
                f"images `{printable(other)}` and `{printable(inside)}` of split `{part.split}` would have the same "
                "label file",
                hint="rename one, or choose `--to coco`",
            )


def require_plain(names: Sequence[str]) -> None:
    """Raise DataError if a class name would not come back from XML as it is."""
    for name in names:
        if not name.isprintable() or name != name.strip():
            raise DataError(f"class name `{printable(name)}` cannot stand in XML", hint="rename it, or `--to coco`")


def stem_of(inside: str) -> str:
    """A name without its suffix."""
    dot = inside.rfind(".")
    return inside[:dot] if dot > inside.rfind("/") + 1 else inside


def _line(inside: str) -> bytes:
    line = os.fsencode(stem_of(inside))
    if b"\n" in line or b"\r" in line or line != line.strip():
        raise DataError(f"image `{printable(inside)}` cannot stand in a list", hint="rename it, or `--to coco`")
    return line + b"\n"
