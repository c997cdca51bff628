"""Pages from the templates in `templates/`: each one file that asks for nothing from outside."""

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
# Letters that HTML cannot hold, and halves of letters that UTF-8 cannot; a tab and the end of a line stay.
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render(template: str, **content: Any) -> str:
    """The text of an HTML file.

    The browser may run the scripts of this package and use its style sheet, both known by their SHA-256, and show
    images that are in the page; it may load, send or run nothing else, whatever names and texts hold.

    Args:
        template: name of a file in `templates/`; whatever it shows is escaped.
        content: what it shows, by the names that it uses.
    """
    return environment().get_template(template).render(version=version("onelook"), **content)


def content_policy(scripts: Sequence[str], *, connects: bool = False, images: str = "data:") -> Markup:
    """What a page with these scripts of `templates/` may do, for its header `Content-Security-Policy`.

    Args:
        connects: whether they may ask the server that the page is from.
        images: where its images may be from.
    """
    programs = " ".join(_digest(_file(name)) for name in scripts) or "'none'"
    asks = " connect-src 'self';" if connects else ""
    return Markup(
        f"default-src 'none'; img-src {images}; style-src {_digest(_file('style.css'))}; script-src {programs};{asks} "
        "base-uri 'none'; form-action 'none'"
    )


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits behind the point; a dash for none and for what is no number.

    >>> number(0.12345), number(float("nan")), number(1234.5, 0)
    ('0.123', '–', '1,234')
    """
    return NOTHING if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def shade(value: float) -> str:
    """The class of a cell whose background is the deeper, the nearer `value` is to 1; none for nan."""
    return f"shade-{round(SHADES * min(max(value, 0.0), 1.0))}" if math.isfinite(value) else ""


@cache
def environment() -> Environment:
    """Reads templates: all that they show is escaped, and a name that they are not given is an error."""
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
    """What stands in the page for a value of a template, before it is escaped."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, Markup) or not isinstance(value, str) else _NOT_TEXT.sub("\ufffd", value)


def _bdi(name: object) -> Markup:
    """A name that somebody else chose, kept apart so that letters written from right to left disturb nothing else."""
    return Markup("<bdi>{}</bdi>").format(_text(str(name)))


def _digest(text: str) -> Markup:
    return Markup(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'")


@cache
def _file(name: str) -> Markup:
    """A style sheet or script of this package, which holds no `</` that would end its element."""
    text = (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8").replace("\r\n", "\n")
    if "</" in text:
        raise ValueError(f"`{name}` holds `</`, which would end the element that it stands in")
    return Markup(text)
