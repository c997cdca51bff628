"""Self-contained HTML pages from `templates/`."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

NOTHING = "–"
SHADES = 20
# Control characters, which HTML cannot hold, and surrogates, which UTF-8 cannot; tabs and line feeds stay.
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render(template: str, **content: Any) -> str:
    """An HTML page.

    Its policy allows the scripts and the style sheet of this package, by their SHA-256, and images in the page; the
    browser loads, sends and runs nothing else, whatever names and texts hold.

    Args:
        template: name of a file in `templates/`; all values are escaped.
        content: the variables of the template.
    """
    return environment().get_template(template).render(version=version("onelook"), **content)


def content_policy(scripts: Sequence[str], *, connects: bool = False, images: str = "data:") -> Markup:
    """The `Content-Security-Policy` of a page with these scripts of `templates/`.

    Args:
        connects: whether they may send requests to the page's own server.
        images: allowed sources of images.
    """
    hashes = " ".join(_digest(_file(name)) for name in scripts) or "'none'"
    connect = " connect-src 'self';" if connects else ""
    return Markup(
        f"default-src 'none'; img-src {images}; style-src {_digest(_file('style.css'))}; script-src {hashes};{connect} "
        "base-uri 'none'; form-action 'none'"
    )


def number(value: float | None, digits: int = 3) -> str:
    """A number with `digits` decimals; a dash for None, nan and infinity.

    >>> number(0.12345), number(float("nan")), number(1234.5, 0)
    ('0.123', '–', '1,234')
    """
    return NOTHING if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def shade(value: float) -> str:
    """The CSS class of a cell, with a deeper background the nearer `value` is to 1; none for nan."""
    return f"shade-{round(SHADES * min(max(value, 0.0), 1.0))}" if math.isfinite(value) else ""


@cache
def environment() -> Environment:
    """The Jinja environment: all values are escaped, and an undefined variable is an error."""
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_text,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": True, "allow_nan": False, "separators": (",", ":")}
    made.filters |= {"number": number, "shade": shade, "count": "{:,}".format, "bdi": _bdi, "file": _file}
    made.globals |= {"nothing": NOTHING, "content_policy": content_policy}
    return made


def _text(value: Any) -> Any:
    """A value as the page shows it, before it is escaped."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, Markup) or not isinstance(value, str) else _NOT_TEXT.sub("\ufffd", value)


def _bdi(name: object) -> Markup:
    """A foreign name in `<bdi>`, so that right-to-left letters leave the text around it alone."""
    return Markup("<bdi>{}</bdi>").format(_text(str(name)))


def _digest(text: str) -> Markup:
    return Markup(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'")


@cache
def _file(name: str) -> Markup:
    """A style sheet or script of `templates/`, which must not contain `</`."""
    text = (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8").replace("\r\n", "\n")
    if "</" in text:
        raise ValueError(f"`{name}` holds `</`, which would end the element that it stands in")
    return Markup(text)
