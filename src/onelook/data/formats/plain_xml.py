"""XML of annotation tools, element by element. Plain elements only: no entity is declared or expanded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.parsers import expat

from onelook.data.formats.object_rows import shown
from onelook.data.formats.row_rules import RefusedRow

MAX_DEPTH = 32
_CHUNK_BYTES = 1 << 16

_ENCODING = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_OF_EXPAT = frozenset({b"utf-8", b"utf-16", b"iso-8859-1", b"us-ascii", b"ascii"})
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030"}  # what Windows writes under these names


class Element(NamedTuple):
    """The start or the end of an element.

    Attributes:
        path: names from the root on, without prefixes of namespaces.
        line: counts from 1.
        attributes: at the start; None at the end.
        text: at the end, what stands in it after its last inner element, without spaces around it.
    """

    path: tuple[str, ...]
    line: int
    attributes: Mapping[str, str] | None
    text: str = ""


def elements(data: bytes, *, max_elements: int) -> Iterator[Element]:
    """The starts and ends of all elements of a file, in their order.

    Raises:
        RefusedRow: not well-formed, nested deeper than 32, of a document type, or of more elements than that.
    """
    data, encoding = _for_expat(data)
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    path: list[str] = []
    characters: list[str] = []
    waiting: list[Element] = []
    num_elements = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal num_elements
        path.append(name.rpartition(":")[2])
        num_elements += 1
        if len(path) > MAX_DEPTH:
            raise RefusedRow(f"the XML is nested deeper than {MAX_DEPTH}")
        if num_elements > max_elements:
            raise RefusedRow(f"the XML has more than {max_elements} elements")
        characters.clear()
        waiting.append(Element(tuple(path), parser.CurrentLineNumber, attributes))

    def end(_: str) -> None:
        waiting.append(Element(tuple(path), parser.CurrentLineNumber, None, "".join(characters).strip()))
        characters.clear()
        path.pop()

    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters.append
    at, size, is_last = 0, _CHUNK_BYTES, False
    while not is_last:
        is_last = at + size >= len(data)
        refusal = _parsed(parser, data[at : at + size], is_last=is_last)
        at += size
        # Expat rereads unfinished input from its start, so the pieces of a long name or comment have to grow.
        size = _CHUNK_BYTES if waiting else 2 * size
        yield from waiting
        waiting.clear()
        if refusal is not None:
            raise refusal


def _parsed(parser: expat.XMLParserType, data: bytes, *, is_last: bool) -> RefusedRow | None:
    """Parse a part of a file; why it is refused, if so."""
    try:
        parser.Parse(data, is_last)
    except RefusedRow as refusal:
        return refusal
    except expat.ExpatError as problem:
        what = expat.ErrorString(problem.code)
        return RefusedRow(f"not well-formed XML: {what} in line {problem.lineno}")
    except (LookupError, UnicodeDecodeError, ValueError) as problem:  # an encoding that does not exist, or is not kept
        return RefusedRow(f"XML in an encoding that cannot be read: {shown(str(problem))}")
    return None


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
