"""What every page is made of: escaped text, templates that fetch nothing, a policy that allows what is in the page."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from importlib import resources
from typing import Any

import pytest
from hostile_names import HOSTILE_NAMES, Reader
from report_runs import make_run

from onelook.reports.html import environment, number, shade
from onelook.reports.report import report_page

TEMPLATES = resources.files("onelook.reports") / "templates"
UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def rendered(source: str, **content: Any) -> str:
    return environment().from_string(source).render(**content)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_name_is_text_wherever_it_stands(name: str) -> None:
    page = rendered('<p title="{{ name }}">{{ name }}<b>{{ name|bdi }}</b></p>', name=name)
    read = Reader(page)
    assert [tag for tag, _ in read.tags] == ["p", "b", "bdi"]
    shown = UNWRITABLE.sub("\ufffd", name)
    assert read.tags[0][1] == {"title": shown}
    assert "".join(read.texts) == 2 * shown
    page.encode("utf-8")


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_name_in_data_for_scripts_cannot_end_them_and_comes_out_as_it_was(name: str) -> None:
    inside = rendered("{{ data|tojson }}", data=[name, {name: 1}])
    assert not set("<>&'") & set(inside) and inside.isascii()
    assert json.loads(inside) == [name, {name: 1}]


def test_a_name_of_content_that_is_not_given_is_an_error() -> None:
    with pytest.raises(Exception, match="'name' is undefined"):
        rendered("<p>{{ name }}</p>")


def test_the_policy_allows_what_is_in_the_page_and_nothing_else() -> None:
    text = report_page([make_run()])
    read = Reader(text)
    policy = next(a["content"] or "" for tag, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["base-uri"] == "'none'" and rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        contents = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in contents]
        assert rules[rule] == " ".join(f"'sha256-{digest}'" for digest in digests) and digests
    assert "unsafe" not in policy and "http" not in policy


def test_a_page_names_nothing_outside() -> None:
    for tag, attributes in Reader(report_page([make_run()])).tags:
        for name in ("src", "href", "action"):
            assert re.match(r"#|data:image/jpeg;base64,", attributes.get(name) or "#"), (tag, attributes)


@pytest.mark.parametrize("name", sorted(file.name for file in TEMPLATES.iterdir()))
def test_templates_programs_and_style_sheet_run_and_fetch_nothing_from_outside(name: str) -> None:
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?:|\beval\b|innerHTML|outerHTML|insertAdjacentHTML", text)
    asked = re.findall(r"fetch\((.*?)\)", text)
    assert asked == (['"state"', '"."'] if name == "live.js" else []), "only the page that follows asks, its own server"
    if name.endswith(".html"):
        assert not re.search(r"\|\s*safe\b|autoescape|\son\w+=|\sstyle=", text), (
            "text that is not escaped, or a handler"
        )
        assert not re.search(r"=\{\{|='", text), "an attribute without double quotes"
        references = re.findall(r'\b(?:src|href|action|srcset|poster|data)="([^"]{0,23})', text)
        assert all(re.match(r"#|data:image/jpeg;base64,|val_images\.html$", one) for one in references), references
    else:
        assert "</" not in text, "it would end the element that it stands in"


def test_numbers_and_shades_are_written_alike() -> None:
    assert [number(0.5), number(None), number(-math.inf), number(12345.6, 1)] == ["0.500", "–", "–", "12,345.6"]
    assert [shade(value) for value in (-1.0, 0.5, 2.0, math.nan)] == ["shade-0", "shade-10", "shade-20", ""]
