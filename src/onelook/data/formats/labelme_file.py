"""LabelMe's JSON: one file per image, beside it, with its shapes in pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from onelook.data.formats.listing import ListedImage, ListedObject, ellipse_points, json_of, points_of, size_of
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
        return ListedObject(place, shown(shape), problem=RefusedRow("no shape: not an object of JSON"))
    label = shape.get("label")
    label = label.strip() if isinstance(label, str) else ""
    kind = shape.get("shape_type", "polygon")
    written = shown(f"{kind} {label} {shape.get('points')}")
    try:
        if not isinstance(kind, str) or kind not in _SHAPES:
            if kind in _WITHOUT_AREA:
                raise RefusedRow(f"a {kind}, which has no box")
            raise RefusedRow(f"`shape_type` is {shown(kind)}; known are {', '.join(_SHAPES)}")
        found = _SHAPES[kind](shape.get("points"))
        if not label:
            raise RefusedRow("no `label`")
    except RefusedRow as problem:
        return ListedObject(place, written, label, problem=problem)
    if isinstance(found, tuple):
        return ListedObject(place, written, label, corners=found)
    return ListedObject(place, written, label, polygon=found)


def _joined(first: ListedObject, more: ListedObject) -> ListedObject:
    """One object of two shapes: the box around both."""
    corners = np.concatenate([_corners_of(first), _corners_of(more)])
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return ListedObject(f"{first.place}, {more.place}", first.text, first.label, (left, top, right, bottom))


def _corners_of(thing: ListedObject) -> Values:
    if thing.corners is not None:
        return np.array(thing.corners).reshape(2, 2)
    assert thing.polygon is not None
    return thing.polygon


def _rectangle(points: Any) -> tuple[float, float, float, float]:
    corners = points_of(points, least=2)
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, top, right, bottom


def _circle(points: Any) -> Values:
    (x, y), (edge_x, edge_y) = points_of(points, least=2)[:2].tolist()
    radius = math.hypot(edge_x - x, edge_y - y)
    if not math.isfinite(radius):
        raise RefusedRow("the radius is not finite")
    return ellipse_points((x, y), (radius, radius))


_SHAPES: dict[str, Callable[[Any], tuple[float, float, float, float] | Values]] = {
    "rectangle": _rectangle,
    "polygon": lambda points: points_of(points, least=3),
    "circle": _circle,
    "mask": _rectangle,
}
