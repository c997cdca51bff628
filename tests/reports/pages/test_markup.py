from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hostile_names import HOSTILE_NAMES, Reader

from onelook.reports.pages.markup import Markup, data_block, element, escaped, joined, user_text

UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_name_is_text_wherever_it_stands(name: str) -> None:
    page = element("p", name, element("b", user_text(name)), title=name, data_name=name)
    read = Reader(page)
    assert [tag for tag, _ in read.tags] == ["p", "b", "bdi"]
    shown = UNWRITABLE.sub("\ufffd", name)
    assert read.tags[0][1] == {"title": shown, "data-name": shown}
    assert "".join(read.texts) == 2 * shown
    page.encode("utf-8")


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_name_in_data_for_scripts_cannot_end_them_and_comes_out_as_it_was(name: str) -> None:
    block = data_block("names", [name, {name: 1}])
    inside = block.removeprefix('<script type="application/json" id="names">').removesuffix("</script>")
    assert not set("<>&") & set(inside)
    assert inside.isascii()
    assert json.loads(inside) == [name, {name: 1}]


def test_markup_is_not_escaped_twice_and_plain_text_beside_it_is() -> None:
    assert joined([element("b", "1"), "<", Markup("<i>")]) == "<b>1</b>&lt;<i>"
    assert escaped(escaped("<")) == "&lt;"
    assert element("p", element("b", "x") + "<") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;</p>"  # a sum is plain text again


@pytest.mark.parametrize(
    "attributes",
    [
        {"onclick": "x()"},
        {"ONLOAD": "x()"},
        {"style": "color: red"},
        {"href": "https://127.0.0.1/"},
        {"href": "javascript:x()"},
        {"src": "//127.0.0.1/a.png"},
        {"src": "data:text/html;base64,AAAA"},
        {"src": 'data:image/png;base64,AA" onload="x'},
        {"action": "/"},
        {'a" b': "1"},
    ],
    ids=str,
)
def test_attributes_that_run_or_fetch_something_are_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="attribute"):
        element("a", "x", **attributes)


def test_attributes_are_written_as_html_has_them() -> None:
    assert element("input", type="range", max=1.5, checked=True, disabled=False, title=None, class_="a") == (
        '<input type="range" max="1.5" checked class="a">'
    )
    assert element("a", "x", href="#part") == '<a href="#part">x</a>'
    assert 'src="data:image/jpeg;base64,AA=="' in element("img", src="data:image/jpeg;base64,AA==", alt="")


def test_numbers_that_are_not_finite_become_null() -> None:
    block = data_block("d", {"y": [float("nan"), float("inf"), 1.0], "pair": (float("-inf"),)})
    assert '{"y":[null,null,1.0],"pair":[null]}' in block
