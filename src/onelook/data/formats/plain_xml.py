"""XML of annotation tools, element by element. Plain elements only: no entity is declared or expanded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol
from xml.parsers import expat

from onelook.data.formats.object_rows import shown
from onelook.data.formats.row_rules import RefusedRow

MAX_DEPTH = 32

_ENCODING = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_OF_EXPAT = frozenset({b"utf-8", b"utf-16", b"iso-8859-1", b"us-ascii", b"ascii"})
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030"}  # what Windows writes under these names


class ElementHandler(Protocol):
    """Takes elements as they come. Paths are names from the root on, without prefixes of namespaces."""

    def start(self, path: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        """An element begins; `line` counts from 1."""

    def end(self, path: tuple[str, ...], text: str) -> None:
        """It ends; `text` is what stands in it after its last inner element, without spaces around it."""


def read_elements(data: bytes, handler: ElementHandler, *, max_elements: int) -> None:
    """Hand all elements of a file to `handler`.

    Raises:
        RefusedRow: not well-formed, nested deeper than 32, of a document type, or of more elements than that; and
            what the handler raises.
    """
    data, encoding = _for_expat(data)
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    elements = _ElementPath(parser, handler, max_elements)
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = elements.start
    parser.EndElementHandler = elements.end
    parser.CharacterDataHandler = elements.characters.append
    try:
        parser.Parse(data, True)
    except expat.ExpatError as problem:
        what = expat.ErrorString(problem.code)
        raise RefusedRow(f"not well-formed XML: {what} in line {problem.lineno}") from problem
    except (LookupError, UnicodeDecodeError, ValueError) as problem:  # an encoding that does not exist, or is not kept
        raise RefusedRow(f"XML in an encoding that cannot be read: {shown(str(problem))}") from problem


class _ElementPath:
    """Keeps the path and the text, and counts."""

    def __init__(self, parser: expat.XMLParserType, handler: ElementHandler, max_elements: int) -> None:
        self.characters: list[str] = []
        self._parser = parser
        self._handler = handler
        self._path: list[str] = []
        self._left = max_elements
        self._max_elements = max_elements

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name.rpartition(":")[2])
        if len(self._path) > MAX_DEPTH:
            raise RefusedRow(f"the XML is nested deeper than {MAX_DEPTH}")
        self._left -= 1
        if self._left < 0:
            raise RefusedRow(f"the XML has more than {self._max_elements} elements")
        self.characters.clear()
        self._handler.start(tuple(self._path), attributes, self._parser.CurrentLineNumber)

    def end(self, _: str) -> None:
        text = "".join(self.characters).strip()
        self.characters.clear()
        self._handler.end(tuple(self._path), text)
        self._path.pop()


def _refuse_doctype(name: str, system_id: str | None, public_id: str | None, has_subset: int) -> None:
    if system_id is public_id is None and not has_subset:
        return  # a name alone declares nothing
    raise RefusedRow(f"the XML has a document type, `{shown(name)}`; such files are not read")


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
