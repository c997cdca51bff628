"""VisDrone's text files: one per image, one object per row, comma-separated, in pixels. Rows are judged alone.

A row is `left, top, width, height, score, category, truncation, occlusion`, see Zhu et al. 2021, "Detection and
tracking meet drones challenge", and http://aiskyeye.com.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from onelook.data.formats.object_rows import LARGEST, shown
from onelook.data.formats.row_rules import RefusedRow

MAX_BYTES = 1 << 23
MAX_ROWS = 100_000
MAX_LINE_BYTES = 1024
COLUMNS = ("left", "top", "width", "height", "score", "category", "truncation", "occlusion")
# Of categories 1 to 10. Category 0 marks regions where objects are not labelled one by one, category 11 other vehicles.
NAMES = (
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor",
)  # fmt: skip
REGION, OTHERS = 0, 11

_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class VisDroneObject:
    """A row that says where something is and what.

    Attributes:
        category: from 1 on.
        box: left, top, width and height, pixels; finite.
    """

    category: int
    box: tuple[float, float, float, float]


def rows_of(data: bytes) -> list[tuple[int, bytes]]:
    """The rows of a file that are not blank, each with the number of its line.

    Raises:
        RefusedRow: the file is no such text, or has too many rows.
    """
    if data.startswith(_UTF16_MARKS):
        raise RefusedRow("the file is UTF-16 text; save it as UTF-8")
    lines = data.removeprefix(_UTF8_MARK).splitlines()
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if len(rows) > MAX_ROWS:
        raise RefusedRow(f"the file has {len(rows)} rows, more than the limit of {MAX_ROWS}")
    return rows


def parse_row(line: bytes, *, num_classes: int) -> VisDroneObject:
    """The object of a row.

    Args:
        line: the row.
        num_classes: of the dataset; with more than ten, category 11 is one of them.

    Raises:
        RefusedRow: there is none, or it is set aside.
    """
    if len(line) > MAX_LINE_BYTES:
        raise RefusedRow(f"the row has {len(line)} bytes, more than the limit of {MAX_LINE_BYTES}")
    columns = [column.strip() for column in line.split(b",")]
    if len(columns) == len(COLUMNS) + 1 and not columns[-1]:
        columns.pop()  # some of the published rows end with a comma
    if len(columns) != len(COLUMNS):
        raise RefusedRow(f"{len(columns)} columns; a row has {len(COLUMNS)}, with commas between: {', '.join(COLUMNS)}")
    for name, column in zip(COLUMNS, columns, strict=True):
        if not _NUMBER.fullmatch(column):
            raise RefusedRow(f"`{name}` is `{text_of(column)}`, not a number")
    left, top, width, height, score, category = (float(column) for column in columns[:6])
    if not (0 <= category < LARGEST and category.is_integer()):
        raise RefusedRow(f"category `{text_of(columns[5])}` is not a whole number from 0 to {LARGEST - 1}")
    if score not in (0, 1):
        raise RefusedRow(f"score `{text_of(columns[4])}` is neither 0 nor 1, as labels have it; is this a detection?")
    if category == REGION:
        raise RefusedRow("a region where objects are not labelled one by one", "ignored")
    if category == OTHERS and num_classes < OTHERS:
        raise RefusedRow(f"category {OTHERS}, other vehicles", "ignored")
    if score == 0:
        raise RefusedRow("its score is 0: it does not count", "ignored")
    return VisDroneObject(int(category), (left, top, width, height))


def text_of(line: bytes) -> str:
    """The beginning of a row or column as one line of printable ASCII."""
    return shown(line[:MAX_LINE_BYTES].replace(b"\t", b" ").decode("ascii", "backslashreplace"))
