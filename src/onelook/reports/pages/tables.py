"""Tables that can be read on a phone: each scrolls for itself, its first column says what a row is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onelook.reports.pages.markup import Markup, element

NOTHING = "–"
SHADES = 20


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        content: text or markup.
        shade: 0 to 1, how deep its background is; None for none.
        kind: "best", "differs", "good", "bad" or "" for a plain cell.
        title: shown when the mouse rests on it.
    """

    content: str
    shade: float | None = None
    kind: str = ""
    title: str | None = None


def table(
    head: Sequence[str], rows: Sequence[Sequence[str | Cell]], *, label: str, text_columns: int = 1, kind: str = ""
) -> Markup:
    """A table; wide ones scroll sideways in a frame of their own.

    Args:
        head: titles of the columns.
        rows: cells; the first of a row is its name.
        label: what the table shows, for those who cannot see it.
        text_columns: how many columns at the left hold words; numbers stand at the right of theirs.
        kind: class of the table.
    """
    titles = (
        element("th", title, scope="col", class_=None if column < text_columns else "number")
        for column, title in enumerate(head)
    )
    body = (element("tr", *(_cell(cell, column, text_columns) for column, cell in enumerate(row))) for row in rows)
    content = element("table", element("thead", element("tr", *titles)), element("tbody", *body), class_=kind or None)
    return element("div", content, class_="scroll", role="region", aria_label=label, tabindex="0")


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits behind the point; a dash for none and for what is no number.

    >>> number(0.12345), number(float("nan")), number(1234.5, 0)
    ('0.123', '–', '1,234')
    """
    return NOTHING if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def _cell(given: str | Cell, column: int, text_columns: int) -> Markup:
    cell = given if isinstance(given, Cell) else Cell(given)
    classes = [] if column < text_columns else ["number"]
    if cell.shade is not None and math.isfinite(cell.shade):
        classes.append(f"shade-{round(SHADES * min(max(cell.shade, 0.0), 1.0))}")
    classes += [cell.kind] if cell.kind else []
    name = " ".join(classes) or None
    if column == 0:
        return element("th", cell.content, scope="row", class_=name, title=cell.title)
    return element("td", cell.content, class_=name, title=cell.title)
