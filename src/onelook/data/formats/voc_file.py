"""Pascal VOC's XML: one file per image, corners in pixels. Plain elements only: no entity is declared or expanded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from onelook.data.formats.listing import Corners, ListedImage, ListedObject, listed, number_in
from onelook.data.formats.object_rows import shown
from onelook.data.formats.plain_xml import elements
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
    objects: list[ListedObject] = []
    size: dict[str, str] = {}
    texts: dict[str, str] = {}
    doubled: list[str] = []
    for path, _, attributes, text in elements(data, max_elements=MAX_ELEMENTS):
        if path[0] != "annotation":
            raise RefusedRow(f"the XML is `{shown(path[0])}`, not an `annotation` of Pascal VOC")
        if attributes is not None:
            continue
        if path in _SIDES:
            size.setdefault(_SIDES[path], text)
        elif path in _OF_OBJECT:
            part = _OF_OBJECT[path]
            doubled += [part] if part in texts else []
            texts.setdefault(part, text)
        elif path == _OBJECT:
            written = shown(" ".join(texts.get(part, "-") for part in ("name", *CORNERS)))
            corners = partial(_corners, texts, doubled, keep_difficult)
            objects.append(listed(f"object {len(objects) + 1}", written, texts.get("name", ""), corners))
            texts, doubled = {}, []
    sides = [size.get(side, "") for side in ("height", "width")]
    height, width = (int(float(side)) if _SIDE.fullmatch(side) else 0 for side in sides)
    return ListedImage("", (height, width) if min(height, width) > 0 else (0, 0), objects)


def _corners(texts: Mapping[str, str], doubled: Sequence[str], keep_difficult: bool) -> Corners:
    """Of an object, from the texts of its elements, of which some may be there twice."""
    if texts.get("difficult", "").lower() in ("1", "true") and not keep_difficult:
        raise RefusedRow("marked as difficult", "ignored")
    if doubled:
        raise RefusedRow(f"`{doubled[0]}` is given twice")
    if not texts.get("name"):
        raise RefusedRow("no `name`")
    for corner in CORNERS:
        if corner not in texts:
            raise RefusedRow(f"no `bndbox` with `{corner}`")
    left, top, right, bottom = (number_in(texts[corner], corner) for corner in CORNERS)
    return left, top, right, bottom
