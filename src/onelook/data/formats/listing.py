"""Images and their objects as the files of annotation tools list them: VOC, VisDrone, LabelMe, CSV, CVAT, Label Studio.

Each object is judged alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from onelook.data.formats.label_rows import LabelRows, RowProblem
from onelook.data.formats.label_source import SizeHw
from onelook.data.formats.object_rows import RowCollector, box_of_polygon, frame_of, shown
from onelook.data.formats.row_rules import RefusedRow, Values
from onelook.errors import DataError, counted

MAX_SIDE = 1 << 20
"""Longest side that a file may give for an image, pixels: larger ones are ignored."""
PERCENT: SizeHw = (100, 100)
ELLIPSE_POINTS = 64
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as written.

    Attributes:
        place: where in the file: the number of a line, or words.
        text: the text as written, for messages.
        shape: xyxy corners of a plain box, or (P, 2) points of a polygon.
        problem: why it cannot be used, if so; else it has a shape.
        units_hw: what coordinates are measured in where that is not the pixel: `PERCENT`, or None.
    """

    place: str | int
    text: str
    label: str = ""
    shape: Corners | Values = (0.0, 0.0, 0.0, 0.0)
    problem: RefusedRow | None = None
    units_hw: SizeHw | None = None


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image with its objects; `size_hw` is (0, 0) if the file does not say."""

    name: str
    size_hw: SizeHw
    objects: Sequence[ListedObject]


@dataclass(frozen=True)
class Listing:
    """The content of a file.

    Attributes:
        images: images in the order of the file; names may repeat.
        names: class names that the file declares, in its order; empty if it declares none.
        lost: rows that belong to no image.
    """

    images: tuple[ListedImage, ...]
    names: tuple[str, ...] = ()
    lost: tuple[RowProblem, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The declared names, or those in use in alphabetical order."""
        return self.names or used_names(self.images)

    def reasons(self, most: int) -> list[str]:
        """Where and why up to `most` of the entries cannot be used."""
        places: list[tuple[str | int, object]] = [(entry.line or entry.place, entry.reason) for entry in self.lost]
        things = (thing for image in self.images for thing in image.objects if thing.problem is not None)
        places += [(thing.place, thing.problem) for thing in islice(things, most)]
        return [f"{f'line {place}' if isinstance(place, int) else place}: {why}" for place, why in places[:most]]


def listed(place: str | int, text: str, label: str, shape: Callable[[], Corners | Values]) -> ListedObject:
    """An object with the shape that `shape()` returns; RefusedRow from it becomes the problem of the object."""
    try:
        return ListedObject(place, text, label, shape())
    except RefusedRow as problem:
        return ListedObject(place, text, label, problem=problem)


def used_names(images: Iterable[ListedImage]) -> tuple[str, ...]:
    """The classes of all objects in alphabetical order."""
    return tuple(sorted({thing.label for image in images for thing in image.objects if thing.label}))


def rows_of(entries: Iterable[ListedImage], size_hw: SizeHw, class_of_name: Mapping[str, int] | None) -> LabelRows:
    """The rows of an image, object by object, from all entries about it.

    Args:
        size_hw: its height and width after EXIF rotation, in pixels; (0, 0) if it cannot be read.
        class_of_name: class name -> class id; None makes all objects class 0.
    """
    rows = RowCollector()
    for image, thing in ((entry, thing) for entry in entries for thing in entry.objects):
        try:
            if thing.problem is not None:
                raise thing.problem
            class_id = _class_of(thing.label, class_of_name)
            frame_hw, note = frame_of(image.size_hw, size_hw)
            height, width = frame_hw if thing.units_hw is None else thing.units_hw
            if isinstance(thing.shape, tuple):
                box, polygon = _box_of(thing.shape, width, height), None
            else:
                polygon = thing.shape / [width, height]
                box = box_of_polygon(polygon)
        except RefusedRow as problem:
            rows.refuse(thing.place, thing.text.__str__, problem)
            continue
        if note:
            rows.note(note, place=f"image {shown(image.name)}" if image.name else "")
        pixels_hw = frame_hw if thing.units_hw is None else None
        rows.add(thing.place, thing.text.__str__, class_id=class_id, box=box, polygon=polygon, pixels_hw=pixels_hw)
    return rows.rows()


def size_of(width: Any, height: Any) -> SizeHw:
    """Height and width in pixels of numbers as they are written; (0, 0) unless both are whole and usable.

    >>> size_of("640", 480.0), size_of("x", 3)
    ((480, 640), (0, 0))
    """
    try:
        sides = [float(side) if not isinstance(side, bool) else 0.0 for side in (height, width)]
    except (TypeError, ValueError, OverflowError):
        return 0, 0
    usable = all(side.is_integer() and 0 < side <= MAX_SIDE for side in sides)
    return (int(sides[0]), int(sides[1])) if usable else (0, 0)


def number_in(text: str, what: str) -> float:
    """A coordinate as it is written; RefusedRow if it is no number."""
    if not NUMBER.fullmatch(text):
        raise RefusedRow(f"`{what}` is `{shown(text)}`, not a number")
    return float(text)


def number_of(value: Any, what: str) -> float:
    """A coordinate from JSON; RefusedRow if it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedRow(f"`{what}` is `{shown(value)}`, not a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def points_of(value: Any, *, least: int) -> Values:
    """(P, 2) points from JSON: a list of x and y.

    Raises:
        RefusedRow: there are fewer than `least`, or it is something else.
    """
    if not isinstance(value, list) or len(value) < least:
        raise RefusedRow(f"`points` is {shown(value)}, not a list of {least} points or more")
    points = []
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            raise RefusedRow(f"`points` holds {shown(point)}, not x and y")
        points.append([number_of(point[0], "x"), number_of(point[1], "y")])
    return np.array(points)


def ellipse_points(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> Values:
    """(64, 2) points on an ellipse that is turned clockwise around its centre."""
    angles = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)
    return turned(np.stack([np.cos(angles) * radii[0], np.sin(angles) * radii[1]], axis=1) + centre, centre, degrees)


def turned(points: Values, pivot: tuple[float, float], degrees: float) -> Values:
    """Points, (P, 2), turned clockwise around `pivot`."""
    if not math.isfinite(degrees):
        raise RefusedRow(f"`rotation` is {degrees}")
    angle = math.radians(degrees % 360)
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return np.asarray((points - pivot) @ matrix + pivot)


def rectangle_points(left: float, top: float, right: float, bottom: float) -> Values:
    """(4, 2) corners."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def json_of(data: bytes, where: str) -> Any:
    """The content of a JSON file in UTF-8, which messages call `where`.

    Raises:
        DataError: not UTF-8, not JSON, or nested too deeply.
    """
    with json_faults(where):
        return json.loads(data.decode("utf-8-sig"))


@contextmanager
def json_faults(where: str, *, of_kind: str = "") -> Iterator[None]:
    """Turns errors of decoding JSON within into DataError with the name of the file."""
    try:
        yield
    except UnicodeDecodeError as problem:
        raise DataError(f"{where} is not UTF-8 text: byte {problem.start}", hint="save it as UTF-8") from problem
    except RecursionError as problem:
        raise DataError(f"{where} is nested too deeply{of_kind}") from problem
    except ValueError as problem:  # no JSON, or a number of thousands of digits
        raise DataError(f"{where} is not valid JSON: {shown(str(problem))}") from problem


def name_problem(name: Any) -> str:
    """What is wrong with the name of an image; empty if nothing is."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        return f"`{shown(name)}` is not the name of a file"
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"`{shown(name)}` is not valid text"
    return ""


def _class_of(label: str, class_of_name: Mapping[str, int] | None) -> int:
    if class_of_name is None:
        return 0
    if not label:
        raise RefusedRow("no class is given")
    if label not in class_of_name:
        reason = f"class `{shown(label)}` is not among the {counted(len(class_of_name), 'class')}"
        raise RefusedRow(reason, "unknown class", shown(label))
    return class_of_name[label]


def _box_of(corners: Corners, width: float, height: float) -> Values:
    left, top, right, bottom = corners
    return np.array([(left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width,
                     (bottom - top) / height])  # fmt: skip
