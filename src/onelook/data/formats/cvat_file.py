"""CVAT's XML, "CVAT for images 1.1": all images of a task in one file, with their shapes in pixels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from onelook.data.formats.label_rows import RowProblem
from onelook.data.formats.listing import (
    NUMBER,
    Corners,
    ListedImage,
    ListedObject,
    Listing,
    ellipse_points,
    listed,
    name_problem,
    number_in,
    rectangle_points,
    size_of,
    turned,
)
from onelook.data.formats.object_rows import shown
from onelook.data.formats.plain_xml import elements
from onelook.data.formats.row_rules import RefusedRow, Values
from onelook.errors import DataError
from onelook.files.bounded import StrPath, printable, read_bounded

MAX_BYTES = 1 << 30
MAX_ELEMENTS = 20_000_000
ROOT = "annotations"

_POINT = re.compile(rf"({NUMBER.pattern}),({NUMBER.pattern})")
_IMAGE = (ROOT, "image")
_LABEL = "label"
_WITHOUT_AREA = {"polyline": "a line", "points": "points", "skeleton": "a skeleton", "cuboid": "a cuboid"}

Attributes = Mapping[str, str]


def read_cvat(path: StrPath) -> Listing:
    """The images and objects of a CVAT file; DataError if it cannot be read, is no XML of CVAT, or one of videos."""
    try:
        return _listing(read_bounded(path, MAX_BYTES))
    except RefusedRow as problem:
        raise DataError(f"CVAT file `{printable(path)}`: {problem}", hint="export it as `CVAT for images 1.1`") from (
            problem
        )


def _listing(data: bytes) -> Listing:
    images: list[ListedImage] = []
    names: list[str] = []
    lost: list[RowProblem] = []
    things: list[ListedObject] = []
    problem, name, is_part = "", "", False
    for path, line, attributes, text in elements(data, max_elements=MAX_ELEMENTS):
        if path[0] != ROOT:
            raise RefusedRow(f"the XML is `{shown(path[0])}`, not the `{ROOT}` of CVAT")
        if path == (ROOT, "track"):
            raise RefusedRow(f"line {line} is a track of a video, whose frames are not image files")
        if attributes is not None:
            if path == _IMAGE:
                problem, things = name_problem(attributes.get("name")), []
                if problem:
                    lost.append(RowProblem(line, shown(str(dict(attributes))), f"`name`: {problem}", "refused"))
                else:
                    size_hw = size_of(attributes.get("width"), attributes.get("height"))
                    images.append(ListedImage(attributes["name"].strip(), size_hw, things))
            elif path[:-1] == _IMAGE:
                thing = _object(path[2], attributes, line)
                if problem:
                    lost.append(RowProblem(line, thing.text, "its image has no name", "refused"))
                else:
                    things.append(thing)
        elif path[:2] != (ROOT, "meta"):
            continue
        elif path[-3:] == ("labels", _LABEL, "name"):
            name = text
        elif path[-3:] == ("labels", _LABEL, "parent"):
            is_part = True  # a point of a skeleton
        elif path[-2:] == ("labels", _LABEL):
            names += [name] if name and not is_part else []
            name, is_part = "", False
    return Listing(tuple(images), tuple(dict.fromkeys(names)), tuple(lost))


def _object(kind: str, attributes: Attributes, line: int) -> ListedObject:
    label = attributes.get("label", "").strip()
    written = shown(f"{kind} {label} " + " ".join(attributes.get(name, "") for name in ("xtl", "ytl", "xbr", "ybr")))
    return listed(line, written, label, partial(_shape, kind, attributes, label))


def _shape(kind: str, attributes: Attributes, label: str) -> Corners | Values:
    if kind == "tag":
        raise RefusedRow("a tag, which describes the image as a whole", "ignored")
    if kind in _WITHOUT_AREA:
        raise RefusedRow(f"{_WITHOUT_AREA[kind]}, which has no box")
    if kind not in _SHAPES:
        raise RefusedRow(f"`{shown(kind)}` is not a known shape")
    shape = _SHAPES[kind](attributes)
    if not label:
        raise RefusedRow("no `label`")
    return shape


def _number(attributes: Attributes, name: str, otherwise: str | None = None) -> float:
    text = attributes.get(name, otherwise)
    if text is None:
        raise RefusedRow(f"no `{name}`")
    return number_in(text.strip(), name)


def _box(attributes: Attributes) -> Corners | Values:
    left, top, right, bottom = (_number(attributes, name) for name in ("xtl", "ytl", "xbr", "ybr"))
    degrees = _number(attributes, "rotation", "0")
    if degrees % 360 == 0:
        return left, top, right, bottom
    return turned(rectangle_points(left, top, right, bottom), ((left + right) / 2, (top + bottom) / 2), degrees)


def _polygon(attributes: Attributes) -> Values:
    written = attributes.get("points", "")
    points = [_POINT.fullmatch(point.strip()) for point in written.split(";")]
    if len(points) < 3 or not all(points):
        raise RefusedRow(f"`points` is `{shown(written)}`, not three points or more as `x,y;x,y;x,y`")
    return np.array([[float(point[1]), float(point[2])] for point in points if point])


def _ellipse(attributes: Attributes) -> Values:
    cx, cy, rx, ry = (_number(attributes, name) for name in ("cx", "cy", "rx", "ry"))
    return ellipse_points((cx, cy), (rx, ry), _number(attributes, "rotation", "0"))


def _mask(attributes: Attributes) -> Corners:
    left, top, width, height = (_number(attributes, name) for name in ("left", "top", "width", "height"))
    return left, top, left + width, top + height


_SHAPES: dict[str, Callable[[Attributes], Corners | Values]] = {
    "box": _box, "polygon": _polygon, "ellipse": _ellipse, "mask": _mask,
}  # fmt: skip
