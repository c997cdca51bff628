"""From objects, of formats that count in pixels or percent, to rows of labels."""

from __future__ import annotations

import reprlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import LabelRows, Outcome, RowProblem
from onelook.data.formats.label_source import SizeHw
from onelook.data.formats.row_rules import LAST_DIGIT, RefusedRow, Values, box_around, inside
from onelook.files.fault_kinds import FaultKind, Remark

LARGEST = 2**31
SHOWN_CHARACTERS = 80
UNKNOWN_SIZE = (0, 0)
# A polygon whose box overlaps that of its object by less is not the polygon of this object.
SAME_BOX_IOU = 0.5
_STRAY_POLYGON = Remark("its polygon lies elsewhere and is not used", "stray-polygon")
Text = Callable[[], str]
Place = str | int


def frame_of(declared_hw: SizeHw, actual_hw: SizeHw) -> tuple[SizeHw, str]:
    """The image size that boxes refer to, given the size in the file and the actual one; and a note, empty if equal.

    If the image was resized, its aspect ratio is the same to within a pixel, and its boxes are scaled with it. If one
    size is unknown, (0, 0), the other is used.

    Raises:
        RefusedRow: the aspect ratios differ: the image was rotated or cropped, or is another one.
    """
    if actual_hw == UNKNOWN_SIZE or declared_hw == actual_hw:
        return (declared_hw if min(declared_hw) > 0 else (1, 1)), ""
    if min(declared_hw) <= 0:
        return actual_hw, ""
    (height, width), (actual_height, actual_width) = declared_hw, actual_hw
    sizes = f"the file says {width} x {height} pixels, the image has {actual_width} x {actual_height}"
    grown, shrunk = width * actual_height / actual_width, actual_width * height / width
    if abs(grown - height) <= 1 or abs(shrunk - actual_height) <= 1:
        return declared_hw, f"{sizes}: its boxes were scaled"
    raise RefusedRow(f"{sizes}, with another aspect ratio: the box cannot be placed")


class RowCollector:
    """The rows of one image, judged one by one in the order of the file.

    Args:
        called: what a row is, for messages.
    """

    def __init__(self, called: str = "an object") -> None:
        self._called = called
        self._class_ids: list[int] = []
        self._boxes: list[Values] = []
        self._polygons: list[Values] = []
        self._problems: list[RowProblem] = []
        self._seen: set[bytes] = set()
        self._rows_read = 0

    def note(self, text: str, *, place: str = "") -> None:
        """Add a note about the labels of the image as a whole, once."""
        note = RowProblem(0, "", text, "note", place)
        if note not in self._problems:
            self._problems.append(note)

    def doubt(self, place: Place, value: Text, remark: Remark) -> None:
        """Note what is suspicious about a row."""
        self._problem(place, value, remark.text, "note", remark.kind)

    def refuse(self, place: Place, value: Text, problem: RefusedRow) -> None:
        """Count a row that is not used, with the reason."""
        self._rows_read += 1
        text = value if problem.value is None else problem.value
        self._problem(place, text, str(problem), problem.outcome, problem.kind)

    def add(
        self,
        place: Place,
        value: Text,
        *,
        class_id: int,
        box: Values,
        polygon: Values | None = None,
        pixels_hw: SizeHw | None = None,
    ) -> None:
        """Judge an object and keep it if it can be used.

        Args:
            value: gives the object as written, for messages.
            box: (4,) cxcywh as a fraction of the image.
            polygon: (P, 2) points as a fraction of the image; None for a plain box.
            pixels_hw: height and width of the image, if the file gives pixels.
        """
        try:
            _require_numbers(box)
            if pixels_hw is not None and ends_in_first_pixel(box, np.array(pixels_hw[::-1])):
                raise RefusedRow(
                    "it ends within the first pixel; are these fractions of the image? Pixels are expected"
                )
            used, comment = inside(box)
        except RefusedRow as problem:
            self.refuse(place, value, problem)
            return
        points = np.zeros(0) if polygon is None else polygon.reshape(-1)
        if not self.is_new(place, value, class_id, np.concatenate([box, points])):
            return
        clipped: Values = np.clip(points, 0, 1).reshape(-1, 2)
        if len(clipped) and not _has_box(clipped, used):
            self.doubt(place, value, _STRAY_POLYGON)
            clipped = clipped[:0]
        self.keep(place, value, class_id=class_id, box=used, polygon=clipped, comment=comment)

    def is_new(self, place: Place, value: Text, class_id: int, written: Values) -> bool:
        """Count a row that can be used; whether there was none with this class and these numbers."""
        self._rows_read += 1
        identity = class_id.to_bytes(8, "little") + (written + 0.0).tobytes()  # + 0.0: minus zero is zero
        if identity in self._seen:
            self._problem(place, value, f"a duplicate of {self._called} above", "deduplicated")
            return False
        self._seen.add(identity)
        return True

    def keep(self, place: Place, value: Text, *, class_id: int, box: Values, polygon: Values, comment: str) -> None:
        """Add a row that is new: its box and polygon as they are used, and what was done to them, if anything."""
        self._class_ids.append(class_id)
        self._boxes.append(box)
        self._polygons.append(polygon)
        if comment:
            self._problem(place, value, comment, "clipped")

    def rows(self) -> LabelRows:
        """All rows so far."""
        return LabelRows(
            np.array(self._class_ids, np.int64),
            np.array(self._boxes, np.float32).reshape(-1, 4),
            np.array([len(polygon) for polygon in self._polygons], np.int64),
            np.concatenate([np.zeros((0, 2)), *self._polygons]).astype(np.float32),
            self._rows_read,
            problems=tuple(self._problems),
        )

    def _problem(
        self, place: Place, value: Text | str, reason: str, outcome: Outcome, kind: FaultKind | None = None
    ) -> None:
        text = value if isinstance(value, str) else value()
        line, words = (place, "") if isinstance(place, int) else (0, place)
        self._problems.append(RowProblem(line, text, reason, outcome, words, kind))


def shown(value: object) -> str:
    """The beginning of a value, or of bytes, as one line of printable ASCII."""
    text = value if isinstance(value, str | bytes) else reprlib.repr(value)
    start = text[:SHOWN_CHARACTERS]
    start = start if isinstance(start, bytes) else start.encode("ascii", "backslashreplace")
    plain = start.decode("ascii", "backslashreplace")
    escaped = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in plain)
    return escaped + ("..." if len(text) > SHOWN_CHARACTERS else "")


def box_of_polygon(polygon: Values) -> Values:
    """(4,) cxcywh around the points, (P, 2); RefusedRow if a coordinate is no usable number."""
    _require_numbers(polygon)
    return box_around(polygon)


def ends_in_first_pixel(boxes: Values, sides: Values) -> npt.NDArray[np.bool_]:
    """(...,) whether boxes, (..., 4) cxcywh as a fraction of the image, end within its first pixel.

    Args:
        sides: (..., 2) width and height of the image, pixels.
    """
    ends = (boxes[..., :2] + boxes[..., 2:] / 2) * sides
    return np.asarray((ends.min(axis=-1) > 0) & (ends.max(axis=-1) <= 1 + LAST_DIGIT) & (sides.min(axis=-1) > 1))


def _has_box(polygon: Values, box: Values) -> bool:
    """Whether the box around a polygon, (P, 2), is by and large the one that is given, (4,) cxcywh."""
    (left, top), (right, bottom) = map(float, polygon.min(axis=0)), map(float, polygon.max(axis=0))
    x, y, width, height = map(float, box)
    common_width = min(right, x + width / 2) - max(left, x - width / 2)
    common_height = min(bottom, y + height / 2) - max(top, y - height / 2)
    common = max(common_width, 0) * max(common_height, 0)
    return common >= SAME_BOX_IOU * ((right - left) * (bottom - top) + width * height - common)


def _require_numbers(values: Values) -> None:
    if not (np.abs(values) < LARGEST).all():
        raise RefusedRow(f"a coordinate is not finite or larger than {LARGEST} times the image")
