"""Pascal VOC's XML: one file per image, corners in pixels. Plain elements only: no entity is declared or expanded."""

from __future__ import annotations

import re
from collections.abc import Mapping

from onelook.data.formats.listing import Corners, ListedImage, ListedObject, listed, number_in
from onelook.data.formats.object_rows import shown
from onelook.data.formats.plain_xml import read_elements
from onelook.data.formats.row_rules import RefusedRow

MAX_BYTES = 1 << 24
MAX_ELEMENTS = 200_000
CORNERS = ("xmin", "ymin", "xmax", "ymax")

_SIDE = re.compile(r"[0-9]{1,7}(?:\.0*)?")
_OBJECT = ("annotation", "object")
_OF_OBJECT: dict[tuple[str, ...], str] = {
    (*_OBJECT, "name"): "name",
    (*_OBJECT, "difficult"): "difficult",
    **{(*_OBJECT, "bndbox", corner): corner for corner in CORNERS},
}
_SIDES: dict[tuple[str, ...], str] = {("annotation", "size", side): side for side in ("width", "height")}


def parse_voc(data: bytes, *, keep_difficult: bool = False) -> ListedImage:
    """The objects of a VOC file; those that are marked as difficult are set aside unless they are kept.

    Raises:
        RefusedRow: not well-formed, nested deeper than 32, of a document type, or not an `annotation`.
    """
    found = _VocElements(keep_difficult)
    read_elements(data, found, max_elements=MAX_ELEMENTS)
    sides = [found.sides.get(side, "") for side in ("height", "width")]
    height, width = (int(float(side)) if _SIDE.fullmatch(side) else 0 for side in sides)
    return ListedImage("", (height, width) if min(height, width) > 0 else (0, 0), found.objects)


class _VocElements:
    """Takes the elements as they come, and keeps those that matter."""

    def __init__(self, keep_difficult: bool) -> None:
        self.sides: dict[str, str] = {}
        self.objects: list[ListedObject] = []
        self._keep_difficult = keep_difficult
        self._texts: dict[str, str] = {}
        self._doubled: list[str] = []

    def start(self, path: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        if path[0] != "annotation":
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
            written = shown(" ".join(self._texts.get(part, "-") for part in ("name", *CORNERS)))
            place, label = f"object {len(self.objects) + 1}", self._texts.get("name", "")
            self.objects.append(listed(place, written, label, self._corners))
            self._texts, self._doubled = {}, []

    def _corners(self) -> Corners:
        """Of the object that ends."""
        if self._texts.get("difficult", "").lower() in ("1", "true") and not self._keep_difficult:
            raise RefusedRow("marked as difficult", "ignored")
        if self._doubled:
            raise RefusedRow(f"`{self._doubled[0]}` is given twice")
        if not self._texts.get("name"):
            raise RefusedRow("no `name`")
        for corner in CORNERS:
            if corner not in self._texts:
                raise RefusedRow(f"no `bndbox` with `{corner}`")
        left, top, right, bottom = (number_in(self._texts[corner], corner) for corner in CORNERS)
        return left, top, right, bottom
