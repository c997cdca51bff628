"""The images of a COCO file and the labels of each: boxes, and polygons of one part; masks become boxes around them."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.coco_file import (
    CocoAnnotation,
    CocoImage,
    read_annotations,
    read_coco_file,
    whole_id,
)
from onelook.data.formats.coco_paths import image_paths
from onelook.data.formats.label_rows import LabelRows, RowProblem
from onelook.data.formats.label_source import LabelSource, Lazy, SizeHw
from onelook.data.formats.masks import box_of_mask
from onelook.data.formats.object_rows import LARGEST, RowCollector, box_of_polygon, frame_of, shown
from onelook.data.formats.one_file import images_of, one_file_source
from onelook.data.formats.row_rules import RefusedRow, Values, may_be_corners
from onelook.errors import counted
from onelook.files.bounded import printable
from onelook.files.fault_kinds import Remark

logger = logging.getLogger(__name__)

_NO_IMAGE, _OF_ANOTHER_SPLIT = -1, -2
_LIKE_CORNERS = Remark("read as left, top, width, height, but it looks like two corners", "corner-row")
_UNKNOWN = CocoImage(0, "", (0, 0))


def open_coco(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images that the COCO file of a split names, and the reader of its annotations.

    Raises:
        DataError: the split is not described, its file is no COCO file, or it names no image.
    """
    spec.require(split)
    file = read_coco_file(spec.annotations[split])
    paths = _paths(spec, split, reports=True)
    images = images_of(spec, split, paths)
    place = {image: number for number, image in enumerate(images)}
    # The first, where several are of one file.
    entry_of = dict(zip(reversed(paths), reversed(file.images), strict=True))
    number_of_id = {
        entry.id: place.get(image, _OF_ANOTHER_SPLIT) for image, entry in zip(paths, file.images, strict=True)
    }
    annotations = Lazy(lambda: _by_image(file.path, number_of_id, len(images)))
    class_of_name = spec.class_of_name(single_cls)

    def read(number: int, size_hw: SizeHw) -> LabelRows:
        image = entry_of.get(images[number], _UNKNOWN)
        return _rows(annotations().of_image(number), image, size_hw, file.categories, class_of_name)

    return one_file_source(
        spec,
        split,
        images,
        paths,
        single_cls=single_cls,
        read=read,
        lost_rows=lambda: [_lost(place, entry) for place, entry in annotations().of_image(_NO_IMAGE)],
        paths_of=lambda other: _paths(spec, other),
    )


def _paths(spec: DatasetSpec, split: str, *, reports: bool = False) -> list[str]:
    """Those of all images in the file of a split, in its order; whether it is said how they are read."""
    file = read_coco_file(spec.annotations[split])
    names = [image.file_name for image in file.images]
    return image_paths(str(spec.splits[split][0]), names, named_in=file.path if reports else "")


@dataclass(frozen=True)
class _Annotations:
    """All annotations of a file, and which of them are of which image."""

    entries: Sequence[CocoAnnotation | Any]
    by_image: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    def of_image(self, number: int) -> list[tuple[str, CocoAnnotation | Any]]:
        """With their places in the file, in its order; for `_NO_IMAGE`, those that belong to no image."""
        start, stop = self.offsets[number - _NO_IMAGE], self.offsets[number - _NO_IMAGE + 1]
        positions: list[int] = self.by_image[start:stop].tolist()
        return [(f"annotations[{position}]", self.entries[position]) for position in positions]


def _rows(
    annotations: Iterable[tuple[str, CocoAnnotation]],
    image: CocoImage,
    size_hw: SizeHw,
    categories: Mapping[int, str],
    class_of_name: Mapping[str, int] | None,
) -> LabelRows:
    """The rows of an image.

    Args:
        annotations: those of the image, with their places in the file.
        image: what the file says of it.
        size_hw: its height and width, pixels, or (0, 0) if it cannot be read.
        categories: id -> name.
        class_of_name: class name -> class id; None makes all annotations class 0.
    """
    rows = RowCollector()
    for place, entry in annotations:
        value = partial(_written, entry)
        try:
            if entry.is_crowd:
                raise RefusedRow("a crowd region: one box for many objects", "ignored")
            class_id = _class_of(entry.category_id, categories, class_of_name)
            frame_hw, note = frame_of(image.size_hw, size_hw)
            box, polygon = _shape_of(entry, frame_hw)
        except RefusedRow as problem:
            rows.refuse(place, value, problem)
            continue
        if note:
            rows.note(note, place=f"image {shown(image.file_name)}")
        rows.add(place, value, class_id=class_id, box=box, polygon=polygon, pixels_hw=frame_hw)
        if isinstance(entry.bbox, tuple) and _looks_like_corners(entry.bbox, frame_hw):
            rows.doubt(place, value, _LIKE_CORNERS)
    return rows.rows()


def _class_of(category_id: Any, categories: Mapping[int, str], class_of_name: Mapping[str, int] | None) -> int:
    id_ = whole_id(category_id)
    name = categories.get(id_) if type(id_) is int else None
    if name is None:
        reason = f"category id {shown(category_id)} is not among the {counted(len(categories), 'category')} of the file"
        raise RefusedRow(reason, "unknown class", shown(category_id))
    if class_of_name is None:
        return 0
    class_id = class_of_name.get(name, class_of_name.get(name.strip()))
    if class_id is None:
        reason = f"category `{shown(name)}` is not among the {counted(len(class_of_name), 'class')}"
        raise RefusedRow(reason, "unknown class", shown(name))
    return class_id


def _by_image(path: str, number_of_id: Mapping[int | str, int], num_images: int) -> _Annotations:
    """The annotations of the file `path`, by the images that they belong to."""
    entries = read_annotations(path)
    numbers = np.array([_image_of(entry, number_of_id) for entry in entries], np.int64)
    as_text = sum(
        isinstance(entry, CocoAnnotation) and isinstance(entry.image_id, str) and type(whole_id(entry.image_id)) is int
        for entry in entries
    )
    if as_text:
        logger.info(
            "`%s`: %d of %d annotations give `image_id` as text, which is read as a number",
            printable(path), as_text, len(entries),
        )  # fmt: skip
    offsets = np.searchsorted(np.sort(numbers), np.arange(_NO_IMAGE, num_images + 1))
    return _Annotations(entries, np.argsort(numbers, kind="stable"), offsets)


def _image_of(entry: CocoAnnotation | Any, number_of_id: Mapping[int | str, int]) -> int:
    """The number of the image that an annotation belongs to, `_NO_IMAGE` if there is none."""
    image_id: object = whole_id(entry.image_id) if isinstance(entry, CocoAnnotation) else None
    if isinstance(image_id, bool) or not isinstance(image_id, (int, str)):
        return _NO_IMAGE
    return number_of_id.get(image_id, _NO_IMAGE)


def _lost(place: str, entry: CocoAnnotation | Any) -> RowProblem:
    if not isinstance(entry, CocoAnnotation):
        return RowProblem(0, shown(entry), "not an annotation: it has no `image_id`", "refused", place)
    return RowProblem(0, _written(entry), f"no image has the id {shown(entry.image_id)}", "refused", place)


def _looks_like_corners(bbox: tuple[float, ...], size_hw: SizeHw) -> bool:
    x, y, width, height = (value / side for value, side in zip(bbox, size_hw[::-1] * 2, strict=True))
    return may_be_corners((x, y), (width, height), excess=max(x + width, y + height) - 1)


def _shape_of(entry: CocoAnnotation, size_hw: SizeHw) -> tuple[Values, Values | None]:
    """Box (cxcywh) and polygon of an annotation as a fraction of the image; the box of its mask if it has none."""
    height, width = size_hw
    sides = np.array([width, height], np.float64)
    polygon = _polygon_of(entry.segmentation, sides)
    if isinstance(entry.bbox, tuple):
        x, y, box_width, box_height = entry.bbox
        return np.array([x + box_width / 2, y + box_height / 2, box_width, box_height]) / np.tile(sides, 2), polygon
    if entry.bbox not in (None, []):
        raise RefusedRow("`bbox` is not a list of four numbers")
    if polygon is not None:
        return box_of_polygon(polygon), polygon
    if isinstance(entry.segmentation, array) and entry.segmentation:
        raise RefusedRow("no `bbox`, and a polygon that is not a list of x and y of three points or more")
    if isinstance(entry.segmentation, list) and entry.segmentation:
        parts = [_points_of(part) for part in entry.segmentation]
        return box_of_polygon(np.concatenate(parts) / sides), None
    if entry.segmentation in (None, [], array("d")):
        raise RefusedRow("neither a `bbox` nor a `segmentation`")
    corners, mask_hw = box_of_mask(entry.segmentation)
    if mask_hw != size_hw:
        raise RefusedRow(f"the mask has {mask_hw[1]} x {mask_hw[0]} pixels, the image {width} x {height}")
    return np.concatenate([(corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]]) / np.tile(sides, 2), None


def _polygon_of(segmentation: Any, sides: Values) -> Values | None:
    """(P, 2) of a polygon in one part; None if there is none that can be used."""
    if not isinstance(segmentation, array) or len(segmentation) < 6 or len(segmentation) % 2:
        return None
    points = np.frombuffer(segmentation).reshape(-1, 2) / sides
    return points if (np.abs(points) < LARGEST).all() else None


def _points_of(part: Any) -> Values:
    """(P, 2) pixels of one of the parts of a polygon."""
    if not (isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0):
        raise RefusedRow("a part of the polygon is not a list of x and y of three points or more")
    try:
        return np.array(array("d", part)).reshape(-1, 2)
    except (TypeError, OverflowError):
        raise RefusedRow("a part of the polygon holds something that is not a number") from None


def _written(entry: CocoAnnotation) -> str:
    return f"id {shown(entry.id)}: bbox {shown(entry.bbox)}"
