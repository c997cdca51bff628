"""HTML elements whose text is escaped unless it is markup of ours already; nothing outside the page can be named."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable
from typing import Any

# Letters that HTML cannot hold, and halves of letters that UTF-8 cannot; a tab and the end of a line stay.
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9-]*$")
_INLINE_IMAGE = re.compile(r"^data:image/(?:jpeg|png|svg\+xml);base64,[A-Za-z0-9+/]*={0,2}$")
VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already and goes into a page as it is; all other text is escaped on the way."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """`text` as HTML that shows just these letters, in text and in attributes; control characters become `U+FFFD`.

    >>> escaped("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    return text if isinstance(text, Markup) else Markup(html.escape(_NOT_TEXT.sub("\ufffd", text)))


def joined(parts: Iterable[str]) -> Markup:
    """The parts one after the other, each escaped unless it is markup."""
    return Markup("".join(map(escaped, parts)))


def element(name: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element with its content.

    Args:
        name: of the element.
        children: text, which is escaped, and markup.
        attributes: `class_` stands for `class`, `aria_label` for `aria-label`; True gives the name alone, None and
            False leave the attribute out.

    Raises:
        ValueError: an attribute would run code, style past the page's policy, or ask for something outside the page.

    >>> element("p", "1 < 2 ", element("b", "yes"), class_="note")
    '<p class="note">1 &lt; 2 <b>yes</b></p>'
    """
    start = "".join([name, *(_attribute(key, value) for key, value in attributes.items())])
    return Markup(f"<{start}>" if name in VOID else f"<{start}>{joined(children)}</{name}>")


def user_text(text: str) -> Markup:
    """A name that somebody else chose, kept apart so that letters written from right to left disturb nothing else."""
    return element("bdi", text)


def data_block(identity: str, content: Any) -> Markup:
    r"""Numbers and text for a script, as JSON that cannot end its element; floats that are not finite become null.

    >>> data_block("curves", {"name": "</script>", "y": [0.5, float("nan")]})
    '<script type="application/json" id="curves">{"name":"\\u003c/script\\u003e","y":[0.5,null]}</script>'
    """
    text = json.dumps(_finite(content), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return element("script", Markup(text), type="application/json", id=identity)


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if not _NAME.match(name) or name.lower().startswith("on") or name.lower() == "style":
        raise ValueError(f"attribute `{name}` has no place in a page")
    if value is True:
        return f" {name}"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    is_reference = name.lower() in {"src", "href", "action", "formaction", "srcset", "poster", "data"}
    if is_reference and not text.startswith("#") and not _INLINE_IMAGE.match(text):
        raise ValueError(f"attribute `{name}` names something outside the page")
    return f' {name}="{escaped(text)}"'


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
