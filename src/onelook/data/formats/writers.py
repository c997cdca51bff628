"""Datasets in other formats: the texts to write, and the description by which they are read again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from onelook.data.formats.object_rows import ends_in_first_pixel
from onelook.data.formats.written_numbers import (
    boxes_around_polygons,
    boxes_xywh_px,
    boxes_xyxy_px,
    polygons_px,
    sides_of_labels,
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
    """A split and its name in the new dataset.

    Attributes:
        inside: (N,) path of each image below `folder`, with `/`.
        folder: folder of the images, below that of the dataset.
    """

    split: str
    index: DatasetIndex
    inside: Sequence[str]
    folder: str


@dataclass(frozen=True)
class LabelWriter:
    """How a dataset is written in a format.

    Attributes:
        folder: folder of the images of a split; `{split}` stands for the name of the split.
        texts: gives path below the folder of the dataset and content of each file of a split, images excepted.
        losses: what is lost of a split: description -> count.
        places: what `data.yaml` says about the labels of a split; None for YOLO, which needs nothing.
        common_folder: folder of the images of all splits, if no two have the same name; empty for none.
    """

    format: str
    folder: str
    texts: Callable[[SplitToWrite, Sequence[str]], Iterator[tuple[str, bytes]]]
    losses: Callable[[DatasetIndex], Mapping[str, int]]
    places: Callable[[SplitToWrite], Mapping[str, str]] | None = None
    common_folder: str = ""

    def folder_of(self, split: str, *, names_differ: bool) -> str:
        """The folder of the images of a split; `names_differ`: no two images of the dataset have the same name."""
        return self.common_folder if names_differ and self.common_folder else self.folder.format(split=split)

    def description(self, parts: Sequence[SplitToWrite], names: Sequence[str]) -> dict[str, Any]:
        """What `data.yaml` says."""
        if self.places is None:
            return {"path": ".", **{part.split: part.folder for part in parts}, "names": list(names)}
        places = {part.split: {"images": part.folder, **self.places(part)} for part in parts}
        return {"path": ".", "format": self.format, **places, "names": list(names)}


def _yolo_texts(part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """A text file per image; a polygon takes the place of its box."""
    _require_stems(part)
    is_box = _has_another_box(part.index)
    for image, inside in enumerate(part.inside):
        path = label_path_of(f"{os.sep}{part.folder}/{inside}")[1:]
        yield path, yolo_rows(part.index, image, is_box).encode()


def _coco_texts(part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """A JSON file per split; category ids count from 1."""
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
    yield _coco_places(part)["annotations"], json.dumps(content).encode()


def _coco_places(part: SplitToWrite) -> dict[str, str]:
    return {"annotations": f"annotations/instances_{part.split}.json"}


def _voc_texts(part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """An XML file per image, and lists of the images; the format has no polygons."""
    _require_stems(part)
    _require_plain(names)
    places = _voc_places(part)
    for image, (inside, shapes) in enumerate(zip(part.inside, _shapes_of(part.index), strict=True)):
        height, width = part.index.size_of(image)
        lines = [
            "<annotation>",
            f"  <filename>{escape(printable(inside))}</filename>",
            f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        ]
        for shape in shapes:
            sides = zip(("xmin", "ymin", "xmax", "ymax"), shape.corners, strict=True)
            corners = "".join(f"<{side}>{text_of(value)}</{side}>" for side, value in sides)
            name = escape(names[shape.class_id])
            lines.append(f"  <object><name>{name}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>")
        yield f"{places['annotations']}/{_stem_of(inside)}.xml", "\n".join([*lines, "</annotation>", ""]).encode()
    yield places["list"], b"".join(map(_line, part.inside))


def _voc_places(part: SplitToWrite) -> dict[str, str]:
    return {
        "annotations": part.folder.replace("JPEGImages", "Annotations", 1),
        "list": f"ImageSets/Main/{part.split}.txt",
    }


def _labelme_texts(part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """A JSON file beside each image; a label is a polygon, or a rectangle where it has none."""
    _require_stems(part)
    for image, (inside, shapes) in enumerate(zip(part.inside, _shapes_of(part.index), strict=True)):
        height, width = part.index.size_of(image)
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [
                {
                    "label": names[shape.class_id],
                    "points": shape.polygon or [shape.corners[:2], shape.corners[2:]],
                    "group_id": None,
                    "description": "",
                    "shape_type": "polygon" if shape.polygon else "rectangle",
                    "flags": {},
                }
                for shape in shapes
            ],
            "imagePath": inside.rpartition("/")[2],
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        yield f"{part.folder}/{_stem_of(inside)}.json", json.dumps(content).encode()


def _cvat_texts(part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """An XML file per split, as `CVAT for images 1.1`; a label is a polygon, or a box where it has none."""
    _require_plain(names)
    labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in names)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<annotations>",
        "  <version>1.1</version>",
        f"  <meta><task><size>{len(part.inside)}</size><labels>{labels}</labels></task></meta>",
    ]
    for image, (inside, shapes) in enumerate(zip(part.inside, _shapes_of(part.index), strict=True)):
        height, width = part.index.size_of(image)
        lines.append(f'  <image id="{image}" name={quoteattr(inside)} width="{width}" height="{height}">')
        lines += [_cvat_shape(shape, names[shape.class_id]) for shape in shapes]
        lines.append("  </image>")
    yield _cvat_places(part)["annotations"], "\n".join([*lines, "</annotations>", ""]).encode()


def _cvat_places(part: SplitToWrite) -> dict[str, str]:
    return {"annotations": f"{part.split}/annotations.xml"}


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


@dataclass(frozen=True)
class _Shape:
    """A label in pixels: xyxy corners, and the points of its polygon; none for a plain box."""

    class_id: int
    corners: list[float]
    polygon: list[list[float]]


def _shapes_of(index: DatasetIndex) -> Iterator[list[_Shape]]:
    """The labels of one image after the other."""
    boxes, points, is_box = boxes_xyxy_px(index).tolist(), polygons_px(index), _has_another_box(index)
    starts = index.polygon_offsets.tolist()
    for image in range(len(index)):
        yield [
            _Shape(
                int(index.class_ids[label]),
                boxes[label],
                [] if is_box[label] else points[starts[label] : starts[label + 1]].tolist(),
            )
            for label in range(*index.labels_of(image).indices(len(boxes)))
        ]


def _cvat_shape(shape: _Shape, name: str) -> str:
    if shape.polygon:
        kind = "polygon"
        place = 'points="' + ";".join(f"{text_of(x)},{text_of(y)}" for x, y in shape.polygon) + '"'
    else:
        kind = "box"
        sides = zip(("xtl", "ytl", "xbr", "ybr"), shape.corners, strict=True)
        place = " ".join(f'{side}="{text_of(value)}"' for side, value in sides)
    return f'    <{kind} label={quoteattr(name)} source="manual" occluded="0" {place} z_order="0"/>'


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


def _has_another_box(index: DatasetIndex) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(M,) labels with a polygon whose box is not the one around it."""
    labels, around = boxes_around_polygons(index)
    sides = np.tile(sides_of_labels(index)[labels], 2)
    is_apart = np.zeros(len(index.class_ids), bool)
    is_apart[labels] = (np.abs(around - index.boxes[labels]) * sides > SAME_BOX_PX).any(axis=1)
    return is_apart


def _require_stems(part: SplitToWrite) -> None:
    """Raise DataError if two images differ in their suffix only, and so would have one label file."""
    first: dict[str, str] = {}
    for inside in part.inside:
        other = first.setdefault(_stem_of(inside), inside)
        if other != inside:
            raise DataError(
                f"images `{printable(other)}` and `{printable(inside)}` of split `{part.split}` would have the same "
                "label file",
                hint="rename one, or choose `--to coco`",
            )


def _require_plain(names: Sequence[str]) -> None:
    """Raise DataError if a class name would not come back from XML as it is."""
    for name in names:
        if not name.isprintable() or name != name.strip():
            raise DataError(
                f"class name `{printable(name)}` cannot be written in XML", hint="rename it, or `--to coco`"
            )


def _stem_of(inside: str) -> str:
    """A name without its suffix."""
    return os.path.splitext(inside)[0]  # noqa: PTH122 - not a path of this system


def _line(inside: str) -> bytes:
    line = os.fsencode(_stem_of(inside))
    if b"\n" in line or b"\r" in line or line != line.strip():
        raise DataError(f"image `{printable(inside)}` cannot be written in a list", hint="rename it, or `--to coco`")
    return line + b"\n"


def _lost_polygons(index: DatasetIndex) -> Mapping[str, int]:
    return {"polygons that are not in the box of their object": int(_has_another_box(index).sum())}


def _specks(index: DatasetIndex) -> Mapping[str, int]:
    """What readers of pixels refuse, since boxes of fractions would all be like it."""
    is_speck = ends_in_first_pixel(index.boxes.astype(np.float64), sides_of_labels(index))
    return {"boxes within the first pixel of their image": int(is_speck.sum())}


def _lost_in_tools(index: DatasetIndex) -> Mapping[str, int]:
    return {**_lost_polygons(index), **_specks(index)}


def _lost_in_voc(index: DatasetIndex) -> Mapping[str, int]:
    return {"polygons": len(boxes_around_polygons(index)[0]), **_specks(index)}


WRITERS = {
    writer.format: writer
    for writer in (
        LabelWriter("yolo", "images/{split}", _yolo_texts, _lost_polygons),
        LabelWriter("coco", "images/{split}", _coco_texts, _specks, _coco_places),
        LabelWriter("voc", "JPEGImages/{split}", _voc_texts, _lost_in_voc, _voc_places, "JPEGImages"),
        LabelWriter("labelme", "{split}", _labelme_texts, _lost_in_tools, lambda part: {"annotations": part.folder}),
        LabelWriter("cvat", "{split}/images", _cvat_texts, _lost_in_tools, _cvat_places),
    )
}
"""Writers by the names of their formats."""
