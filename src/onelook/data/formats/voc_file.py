"""Pascal VOC's XML: one file per image, corners in pixels. Plain elements only: no entity is declared or expanded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from onelook.data.formats.object_rows import shown
from onelook.data.formats.row_rules import RefusedRow

MAX_BYTES = 1 << 24
MAX_DEPTH = 32
MAX_ELEMENTS = 200_000
CORNERS = ("xmin", "ymin", "xmax", "ymax")

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_ENCODING = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_OF_EXPAT = frozenset({b"utf-8", b"utf-16", b"iso-8859-1", b"us-ascii", b"ascii"})
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030"}  # what Windows writes under these names
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
    found = _Elements()
    data, encoding = _for_expat(data)
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = found.doctype
    parser.StartElementHandler = found.start
    parser.EndElementHandler = found.end
    parser.CharacterDataHandler = found.text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as problem:
        what = expat.ErrorString(problem.code)
        raise RefusedRow(f"not well-formed XML: {what} in line {problem.lineno}") from problem
    except (LookupError, UnicodeDecodeError, ValueError) as problem:  # an encoding that does not exist, or is not kept
        raise RefusedRow(f"XML in an encoding that cannot be read: {shown(str(problem))}") from problem
    sides = [found.sides.get(side, "") for side in ("height", "width")]
    height, width = (int(float(side)) if _SIDE.fullmatch(side) else 0 for side in sides)
    return VocFile((height, width) if min(height, width) > 0 else (0, 0), tuple(found.objects))


def _for_expat(data: bytes) -> tuple[bytes, str | None]:
    """A file without space before its first tag, and in UTF-8 if it declares an encoding that expat does not know."""
    data = data.lstrip(b" \t\r\n") if data[:1].isspace() else data
    declared = _ENCODING.match(data)
    if declared is None or declared[1].lower() in _OF_EXPAT:
        return data, None
    name = declared[1].decode("ascii").lower()
    try:
        return data.decode(_SUPERSETS.get(name, name)).encode(), "utf-8"
    except (LookupError, ValueError) as problem:
        raise RefusedRow(
            f"XML in the encoding `{shown(name)}`, which cannot be read: {shown(str(problem))}"
        ) from problem


@dataclass
class _Elements:
    """Takes the elements as they come, and keeps those that matter."""

    path: list[str] = field(default_factory=list)
    sides: dict[str, str] = field(default_factory=dict)
    objects: list[VocObject] = field(default_factory=list)
    _texts: dict[str, str] = field(default_factory=dict)
    _doubled: list[str] = field(default_factory=list)
    _characters: list[str] = field(default_factory=list)
    _num_elements: int = 0

    def doctype(self, name: str, system_id: str | None, public_id: str | None, has_subset: int) -> None:
        if system_id is public_id is None and not has_subset:
            return  # a name alone declares nothing
        raise RefusedRow(f"the XML has a document type, `{shown(name)}`; such files are not read")

    def start(self, name: str, _: object) -> None:
        self.path.append(name.rpartition(":")[2])  # whatever the prefix of its namespace
        if self.path[0] != _ROOT:
            raise RefusedRow(f"the XML is `{shown(name)}`, not an `annotation` of Pascal VOC")
        if len(self.path) > MAX_DEPTH:
            raise RefusedRow(f"the XML is nested deeper than {MAX_DEPTH}")
        self._num_elements += 1
        if self._num_elements > MAX_ELEMENTS:
            raise RefusedRow(f"the XML has more than {MAX_ELEMENTS} elements")
        self._characters.clear()

    def text(self, characters: str) -> None:
        self._characters.append(characters)

    def end(self, _: str) -> None:
        place = tuple(self.path)
        text = "".join(self._characters).strip()
        self._characters.clear()
        if place in _SIDES:
            self.sides.setdefault(_SIDES[place], text)
        elif place in _OF_OBJECT:
            part = _OF_OBJECT[place]
            if part in self._texts:
                self._doubled.append(part)
            self._texts.setdefault(part, text)
        elif place == _OBJECT:
            self.objects.append(VocObject(self._texts, tuple(self._doubled)))
            self._texts, self._doubled = {}, []
        self.path.pop()
