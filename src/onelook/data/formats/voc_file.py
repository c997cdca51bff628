"""Pascal VOC's XML: one file per image, corners in pixels. Plain elements only: no entity is declared or expanded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from onelook.data.formats.object_rows import shown
from onelook.data.formats.plain_xml import read_elements
from onelook.data.formats.row_rules import RefusedRow

MAX_BYTES = 1 << 24
MAX_ELEMENTS = 200_000
CORNERS = ("xmin", "ymin", "xmax", "ymax")

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_SIDE = re.compile(r"[0-9]{1,7}(?:\.0*)?")
_ROOT, _OBJECT = "annotation", ("annotation", "object")
_OF_OBJECT: dict[tuple[str, ...], str] = {
    ("annotation", "object", "name"): "name",
    ("annotation", "object", "difficult"): "difficult",
    **{("annotation", "object", "bndbox", corner): corner for corner in CORNERS},
}
_SIDES: dict[tuple[str, ...], str] = {("annotation", "size", side): side for side in ("width", "height")}


@dataclass(frozen=True)
class VocObject:
    """An `object` as it stands: the texts of `name`, `difficult` and the corners; what is missing is not there.

    Attributes:
        texts: element -> text, without spaces around it.
        doubled: elements that are given more than once.
    """

    texts: Mapping[str, str]
    doubled: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the class.

        Raises:
            RefusedRow: none, or several.
        """
        if self.doubled:
            raise RefusedRow(f"`{self.doubled[0]}` is given twice")
        if not self.texts.get("name"):
            raise RefusedRow("no `name`")
        return self.texts["name"]

    @property
    def is_difficult(self) -> bool:
        """Whether the annotator found it hard to recognise."""
        return self.texts.get("difficult", "").lower() in ("1", "true")

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """xyxy in pixels.

        Raises:
            RefusedRow: one is missing, or no number.
        """
        for corner in CORNERS:
            text = self.texts.get(corner)
            if text is None:
                raise RefusedRow(f"no `bndbox` with `{corner}`")
            if not _NUMBER.fullmatch(text):
                raise RefusedRow(f"`{corner}` is `{shown(text)}`, not a number")
        left, top, right, bottom = (float(self.texts[corner]) for corner in CORNERS)
        return left, top, right, bottom

    def __str__(self) -> str:
        return shown(" ".join(self.texts.get(part, "-") for part in ("name", *CORNERS)))


@dataclass(frozen=True)
class VocFile:
    """What is used of a VOC file; `size_hw` is (0, 0) if it does not say."""

    size_hw: tuple[int, int]
    objects: tuple[VocObject, ...]


def parse_voc(data: bytes) -> VocFile:
    """A VOC file from its bytes.

    Raises:
        RefusedRow: not well-formed, nested deeper than 32, of a document type, or not an `annotation`.
    """
    found = _VocElements()
    read_elements(data, found, max_elements=MAX_ELEMENTS)
    sides = [found.sides.get(side, "") for side in ("height", "width")]
    height, width = (int(float(side)) if _SIDE.fullmatch(side) else 0 for side in sides)
    return VocFile((height, width) if min(height, width) > 0 else (0, 0), tuple(found.objects))


@dataclass
class _VocElements:
    """Takes the elements as they come, and keeps those that matter."""

    sides: dict[str, str] = field(default_factory=dict)
    objects: list[VocObject] = field(default_factory=list)
    _texts: dict[str, str] = field(default_factory=dict)
    _doubled: list[str] = field(default_factory=list)

    def start(self, path: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        if path[0] != _ROOT:
            raise RefusedRow(f"the XML is `{shown(path[0])}`, not an `annotation` of Pascal VOC")

    def end(self, path: tuple[str, ...], text: str) -> None:
        if path in _SIDES:
            self.sides.setdefault(_SIDES[path], text)
        elif path in _OF_OBJECT:
            part = _OF_OBJECT[path]
            if part in self._texts:
                self._doubled.append(part)
            self._texts.setdefault(part, text)
        elif path == _OBJECT:
            self.objects.append(VocObject(self._texts, tuple(self._doubled)))
            self._texts, self._doubled = {}, []
