"""A CSV with a row per object: file, size of the image, class and corners in pixels. Rows are judged alone."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from functools import partial

from onelook.data.formats.label_rows import RowProblem
from onelook.data.formats.listing import (
    Corners,
    ListedImage,
    ListedObject,
    Listing,
    listed,
    name_problem,
    number_in,
    size_of,
)
from onelook.data.formats.object_rows import shown
from onelook.data.formats.row_rules import RefusedRow
from onelook.errors import DataError
from onelook.files.bounded import StrPath, printable, read_bounded

MAX_BYTES = 1 << 30
# Column -> what it may be called, in lower case and without `_`, `-` and spaces.
COLUMNS = {
    "filename": ("filename", "file", "image", "imagepath", "path", "imagename", "imageid", "img"),
    "class": ("class", "label", "classname", "category", "name"),
    "xmin": ("xmin", "x1", "left"),
    "ymin": ("ymin", "y1", "top"),
    "xmax": ("xmax", "x2", "right"),
    "ymax": ("ymax", "y2", "bottom"),
    "width": ("width", "imagewidth", "imgwidth"),
    "height": ("height", "imageheight", "imgheight"),
}
CORNERS = ("xmin", "ymin", "xmax", "ymax")
_OPTIONAL = ("width", "height")
_FIRST_LINE = re.compile(r"[^\r\n]*")


def read_csv(path: StrPath) -> Listing:
    """The images and objects of a CSV file with a header; a row without class and corners is an image without objects.

    Raises:
        DataError: it cannot be read, is no CSV, or its header lacks a column.
    """
    where = f"CSV file `{printable(path)}`"
    data = read_bounded(path, MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise DataError(f"{where} is not UTF-8 text: byte {problem.start}", hint="save it as UTF-8") from problem
    delimiter = _delimiter_of(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    images: dict[tuple[str, tuple[int, int]], list[ListedObject]] = {}
    lost: list[RowProblem] = []
    try:
        columns = _columns(next(rows, []), where)
        for row in rows:
            if not any(map(str.strip, row)):
                continue
            line, written = rows.line_num, shown(delimiter.join(row))
            cells = {column: row[place].strip() if place < len(row) else "" for column, place in columns.items()}
            wrong = name_problem(cells["filename"])
            if wrong:
                lost.append(RowProblem(line, written, f"`filename`: {wrong}", "refused"))
                continue
            size_hw = size_of(cells.get("width"), cells.get("height"))
            things = images.setdefault((cells["filename"], size_hw), [])
            if any(cells[column] for column in (*CORNERS, "class")):
                things.append(listed(line, written, cells["class"], partial(_corners, cells)))
    except csv.Error as problem:
        raise DataError(
            f"{where} line {rows.line_num} is not valid CSV: {problem}", hint="is a quote missing?"
        ) from problem
    return Listing(tuple(ListedImage(name, size_hw, things) for (name, size_hw), things in images.items()), (),
                   tuple(lost))  # fmt: skip


def has_header(text: str) -> bool:
    """Whether the first line of a text names all required columns."""
    header = next(csv.reader([_FIRST_LINE.match(text)[0]], delimiter=_delimiter_of(text)), [])  # type: ignore[index]
    return not _missing(_places(header))


def _columns(header: list[str], where: str) -> dict[str, int]:
    columns = _places(header)
    if missing := _missing(columns):
        raise DataError(
            f"{where} has no column {', '.join(f'`{column}`' for column in missing)} in its first line; found "
            f"{shown(', '.join(header))}",
            hint="the first line is `filename,width,height,class,xmin,ymin,xmax,ymax`; width and height are optional",
        )
    return columns


def _places(header: list[str]) -> dict[str, int]:
    """Column -> its position in the header."""
    plain = [re.sub(r"[\s_-]", "", name).lower() for name in header]
    found = {column: [name for name in names if name in plain] for column, names in COLUMNS.items()}
    return {column: plain.index(names[0]) for column, names in found.items() if names}


def _missing(columns: Mapping[str, int]) -> list[str]:
    return [column for column in COLUMNS if column not in columns and column not in _OPTIONAL]


def _delimiter_of(text: str) -> str:
    return max(",;\t", key=_FIRST_LINE.match(text)[0].count)  # type: ignore[index]


def _corners(cells: Mapping[str, str]) -> Corners:
    left, top, right, bottom = (number_in(cells[corner], corner) for corner in CORNERS)
    if not cells["class"]:
        raise RefusedRow("`class` is empty")
    return left, top, right, bottom
