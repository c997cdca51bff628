"""Tests of the reader of XML: files longer than the pieces in which they are parsed."""

from __future__ import annotations

from xml.parsers.expat import XMLParserType

import pytest

from onelook.data.formats import plain_xml
from onelook.data.formats.plain_xml import Element, elements
from onelook.data.formats.row_rules import RefusedRow

PIECE = 1 << 16


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "cp1252"])
def test_elements_do_not_depend_on_where_pieces_end(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = "".join(f'<b n="{number}">\xe4 {number} </b>\n' for number in range(40))
    data = f'<?xml version="1.0" encoding="{encoding}"?><a>{inner}</a>'.encode(encoding)
    monkeypatch.setattr(plain_xml, "_CHUNK_BYTES", len(data))
    whole = list(elements(data, max_elements=50))
    assert len(whole) == 82 and whole[2] == Element(("a", "b"), 1, None, "\xe4 0")
    for size in (1, 2, 3, 7, 100):
        monkeypatch.setattr(plain_xml, "_CHUNK_BYTES", size)
        assert list(elements(data, max_elements=50)) == whole


@pytest.mark.parametrize(
    "long", ['<b c="{}"/>', "<b><!--{}--></b>", "<b>{}</b>", "<{}/>", "<b><![CDATA[{}]]></b>"], ids=str
)
def test_the_work_for_a_long_name_or_comment_grows_with_its_length_only(
    long: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expat reads what is unfinished again with each piece, so there may be few of these."""
    pieces: list[int] = []
    plain = plain_xml._parsed

    def counted(parser: XMLParserType, data: bytes, *, is_last: bool) -> RefusedRow | None:
        pieces.append(len(data))
        return plain(parser, data, is_last=is_last)

    monkeypatch.setattr(plain_xml, "_parsed", counted)
    data = f"<a>{long.format('x' * (200 * PIECE))}{'<d/>' * 3}</a>".encode()
    assert len(list(elements(data, max_elements=9))) == 10
    assert sum(pieces) == len(data) and len(pieces) < 20


def test_elements_before_a_fault_are_given_first() -> None:
    found = []
    with pytest.raises(RefusedRow, match="not well-formed XML: mismatched tag in line 2"):
        for element in elements(b"<a><b/>\n</c>", max_elements=9):
            found.append(element.path)
    assert found == [("a",), ("a", "b"), ("a", "b")]
