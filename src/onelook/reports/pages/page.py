"""A whole page: one file without anything from outside, which a policy in it forbids as well."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from onelook.reports.pages.markup import Markup, element, escaped, joined


def page(title: str, body: str, *, scripts: Sequence[str] = ()) -> str:
    """The text of an HTML file.

    The browser may run the scripts of this package and use its style sheet, both known by their SHA-256, and show
    images that are in the page; it may load, send or run nothing else, whatever names and texts hold.

    Args:
        title: of the window.
        body: markup; plain text is escaped.
        scripts: names of the `.js` files beside this one that the page needs, in their order.
    """
    style = _file("style.css")
    programs = [_file(f"{name}.js") for name in scripts]
    head = joined(
        [
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_policy(style, programs)),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="referrer", content="no-referrer"),
            element("title", title),
            element("style", style),
        ]
    )
    code = joined(element("script", program) for program in programs)
    document = element("html", element("head", head), element("body", escaped(body), code), lang="en")
    return f"<!doctype html>\n{document}\n"


def section(identity: str, title: str, *content: str) -> Markup:
    """A part of a page with a heading, which a link `#identity` leads to."""
    return element("section", element("h2", title), *content, id=identity)


def contents(sections: Sequence[tuple[str, str]]) -> Markup:
    """Links to the sections of a page, (identity, title)."""
    links = (element("a", title, href=f"#{identity}") for identity, title in sections)
    return element("nav", *links, aria_label="Sections")


def note(*content: str) -> Markup:
    """A quiet sentence that explains, or says what there is none of."""
    return element("p", *content, class_="note")


def warning(*content: str) -> Markup:
    """A sentence that should be read."""
    return element("p", *content, class_="warning")


def folded(summary: str, *content: str, is_open: bool = False) -> Markup:
    """Content that shows when its summary is pressed."""
    return element("details", element("summary", summary), *content, open=is_open)


def side_by_side(*content: str) -> Markup:
    """Parts beside each other where there is room, and below each other where there is not."""
    return element("div", *content, class_="side")


def tiles(figures: Sequence[tuple[str, str]]) -> Markup:
    """The few numbers that matter most, (what it is, value), large."""
    cells = (element("div", element("dt", name), element("dd", value)) for name, value in figures)
    return element("dl", *cells, class_="tiles")


def _policy(style: str, programs: Sequence[str]) -> str:
    scripts = " ".join(map(_hash, programs)) or "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {scripts}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _file(name: str) -> Markup:
    """A file of this package, which holds no `</` that would end its element."""
    text = (resources.files("onelook.reports.pages") / name).read_text(encoding="utf-8").replace("\r\n", "\n")
    if "</" in text:
        raise ValueError(f"`{name}` holds `</`, which would end the element that it stands in")
    return Markup(text)
