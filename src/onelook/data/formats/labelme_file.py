"""LabelMe's JSON: one file per image, beside it, with its shapes in pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from onelook.data.formats.listing import (
    Corners,
    ListedImage,
    ListedObject,
    ellipse_points,
    json_of,
    listed,
    points_of,
    size_of,
)
from onelook.data.formats.object_rows import shown
from onelook.data.formats.row_rules import RefusedRow, Values
from onelook.errors import DataError

MAX_BYTES = 1 << 28  # the image may stand in it, too
_WITHOUT_AREA = ("point", "points", "line", "linestrip")


def parse_labelme(data: bytes) -> ListedImage:
    """The objects of a LabelMe file; shapes of one class and one `group_id` are parts of one object.

    Raises:
        RefusedRow: it is no such file.
    """
    try:
        content = json_of(data, "the file")
    except DataError as problem:
        raise RefusedRow(problem.message) from problem
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise RefusedRow("no list `shapes`, as a file of LabelMe has it")
    things: dict[Any, ListedObject] = {}
    for number, shape in enumerate(shapes):
        thing = _object(f"shapes[{number}]", shape)
        group = shape.get("group_id") if isinstance(shape, dict) else None
        key = (thing.label, group) if type(group) is int and thing.problem is None else number
        things[key] = _joined(things[key], thing) if key in things else thing
    size_hw = size_of(content.get("imageWidth"), content.get("imageHeight"))
    name = content.get("imagePath")
    return ListedImage(name if isinstance(name, str) else "", size_hw, tuple(things.values()))


def _object(place: str, shape: Any) -> ListedObject:
    if not isinstance(shape, dict):
        return ListedObject(place, shown(shape), problem=RefusedRow("not a shape: not a JSON object"))
    label = shape.get("label")
    label = label.strip() if isinstance(label, str) else ""
    kind = shape.get("shape_type", "polygon")
    written = shown(f"{kind} {label} {shape.get('points')}")
    return listed(place, written, label, partial(_shape, kind, shape.get("points"), label))


def _shape(kind: Any, points: Any, label: str) -> Corners | Values:
    if not isinstance(kind, str) or kind not in _SHAPES:
        if kind in _WITHOUT_AREA:
            raise RefusedRow(f"a {kind}, which has no box")
        raise RefusedRow(f"`shape_type` is {shown(kind)}; known are {', '.join(_SHAPES)}")
    found = _SHAPES[kind](points)
    if not label:
        raise RefusedRow("no `label`")
    return found


def _joined(first: ListedObject, more: ListedObject) -> ListedObject:
    """One object of two shapes: the box around both."""
    points = np.concatenate([np.reshape(thing.shape, (-1, 2)) for thing in (first, more)])
    return ListedObject(f"{first.place}, {more.place}", first.text, first.label, _corners_around(points))


def _corners_around(points: Values) -> Corners:
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, top, right, bottom


def _rectangle(points: Any) -> Corners:
    return _corners_around(points_of(points, least=2))


def _circle(points: Any) -> Values:
    (x, y), (edge_x, edge_y) = points_of(points, least=2)[:2].tolist()
    radius = math.hypot(edge_x - x, edge_y - y)
    if not math.isfinite(radius):
        raise RefusedRow("the radius is not finite")
    return ellipse_points((x, y), (radius, radius))


_SHAPES: dict[str, Callable[[Any], Corners | Values]] = {
    "rectangle": _rectangle,
    "polygon": lambda points: points_of(points, least=3),
    "circle": _circle,
    "mask": _rectangle,
}
