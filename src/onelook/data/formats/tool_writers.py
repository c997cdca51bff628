"""Datasets in the formats of LabelMe and CVAT, and the registry of all formats that can be written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from onelook.data.formats.writers import (
    CocoWriter,
    LabelWriter,
    SplitToWrite,
    VocWriter,
    YoloWriter,
    has_another_box,
    require_plain,
    require_stems,
    stem_of,
)
from onelook.data.formats.written_numbers import boxes_xyxy_px, polygons_px, text_of
from onelook.structures.dataset_index import DatasetIndex


class LabelmeWriter:
    """A JSON file beside each image; a label is a polygon, or a rectangle where it has none."""

    def folder_of(self, split: str, *, names_differ: bool) -> str:
        return split

    def texts(self, part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        require_stems(part)
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
            yield f"{part.folder}/{stem_of(inside)}.json", json.dumps(content).encode()

    def description(self, parts: Sequence[SplitToWrite], names: Sequence[str]) -> dict[str, Any]:
        places = {part.split: {"images": part.folder, "annotations": part.folder} for part in parts}
        return {"path": ".", "format": "labelme", **places, "names": list(names)}

    def losses(self, index: DatasetIndex) -> Mapping[str, int]:
        return _lost_polygons(index)


class CvatWriter:
    """An XML file per split, as `CVAT for images 1.1`; a label is a polygon, or a box where it has none."""

    def folder_of(self, split: str, *, names_differ: bool) -> str:
        return f"{split}/images"

    def texts(self, part: SplitToWrite, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        require_plain(names)
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
        yield f"{part.split}/annotations.xml", "\n".join([*lines, "</annotations>", ""]).encode()

    def description(self, parts: Sequence[SplitToWrite], names: Sequence[str]) -> dict[str, Any]:
        places = {part.split: {"images": part.folder, "annotations": f"{part.split}/annotations.xml"} for part in parts}
        return {"path": ".", "format": "cvat", **places, "names": list(names)}

    def losses(self, index: DatasetIndex) -> Mapping[str, int]:
        return _lost_polygons(index)


WRITERS: dict[str, Callable[[], LabelWriter]] = {
    "yolo": YoloWriter,
    "coco": CocoWriter,
    "voc": VocWriter,
    "labelme": LabelmeWriter,
    "cvat": CvatWriter,
}


@dataclass(frozen=True)
class _Shape:
    """A label in pixels: xyxy corners, and the points of its polygon; none for a plain box."""

    class_id: int
    corners: list[float]
    polygon: list[list[float]]


def _shapes_of(index: DatasetIndex) -> Iterator[list[_Shape]]:
    """The labels of one image after the other."""
    boxes, points, is_box = boxes_xyxy_px(index).tolist(), polygons_px(index), has_another_box(index)
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


def _lost_polygons(index: DatasetIndex) -> Mapping[str, int]:
    return {"polygons that are not in the box of their object": int(has_another_box(index).sum())}
