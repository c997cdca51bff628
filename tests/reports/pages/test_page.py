from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

import pytest
from hostile_names import HOSTILE_NAMES, Reader

from onelook.reports.pages.markup import element
from onelook.reports.pages.page import contents, folded, note, page, section, tiles, warning


def test_the_policy_allows_what_is_in_the_page_and_nothing_else() -> None:
    text = page("A page", section("one", "One", note("words")), scripts=["charts"])
    read = Reader(text)
    policy = next(a["content"] or "" for tag, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["base-uri"] == "'none'" and rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert "unsafe" not in policy and "http" not in policy


def test_a_page_without_scripts_may_run_none() -> None:
    assert "script-src &#x27;none&#x27;;" in page("A page", "words")


def test_a_page_names_nothing_outside() -> None:
    for tag, attributes in Reader(page("A page", "words", scripts=["charts"])).tags:
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_titles_and_sections_take_names_as_text(name: str) -> None:
    plain = Reader(
        page("t", contents([("a", "x")]) + section("a", "x", warning("x"), folded("x", "x"), tiles([("x", "x")])))
    )
    body = element(
        "main", contents([("a", name)]), section("a", name, warning(name), folded(name, name), tiles([(name, name)]))
    )
    read = Reader(page(name, body))
    allowed = {"html", "head", "meta", "title", "style", "body", "main", "nav", "a", "section", "h2", "p", "details"}
    assert {tag for tag, _ in read.tags} == allowed | {"summary", "dl", "div", "dt", "dd"}
    assert plain.tags


def test_programs_and_style_sheet_cannot_end_their_element_and_fetch_nothing() -> None:
    files = [file for file in resources.files("onelook.reports.pages").iterdir() if file.name.endswith((".js", ".css"))]
    assert len(files) >= 2
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(
            r"</|url\(|@import|https?:|\beval\b|innerHTML|outerHTML|insertAdjacentHTML|fetch\(", text
        ), file.name
