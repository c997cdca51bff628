"""VisDrone's text files: one per image, one object per row, comma-separated, in pixels. Rows are judged alone.

A row is `left, top, width, height, score, category, truncation, occlusion`, see Zhu et al. 2021, "Detection and
tracking meet drones challenge", and http://aiskyeye.com.
"""

from __future__ import annotations

from onelook.data.formats.listing import Corners, ListedImage, ListedObject, number_in
from onelook.data.formats.object_rows import LARGEST, UNKNOWN_SIZE, shown
from onelook.data.formats.row_rules import RefusedRow, without_mark
from onelook.errors import counted

MAX_BYTES = 1 << 23
MAX_ROWS = 100_000
MAX_LINE_BYTES = 1024
COLUMNS = ("left", "top", "width", "height", "score", "category", "truncation", "occlusion")
# Of categories 1 to 10. Category 0 marks regions where objects are not labelled one by one, category 11 other vehicles.
NAMES = (
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor",
)  # fmt: skip
REGION, OTHERS = 0, 11


def classes_of(num_classes: int) -> dict[str, int]:
    """The class id of each category, which stands for the name of a class: category 1 is class 0, and so on."""
    return {str(class_id + 1): class_id for class_id in range(num_classes)}


def parse_visdrone(data: bytes, *, num_classes: int, single_cls: bool = False) -> ListedImage:
    """The objects of a file, their categories as labels.

    Args:
        num_classes: number of classes of the dataset; with more than ten, category 11 is one of them.
        single_cls: all categories are one class, so that none is unknown.

    Raises:
        RefusedRow: the file is no such text, or has too many rows.
    """
    lines = enumerate(without_mark(data).splitlines(), start=1)
    rows = [(number, line) for number, line in lines if line.strip()]
    if len(rows) > MAX_ROWS:
        raise RefusedRow(f"the file has {len(rows)} rows, more than the limit of {MAX_ROWS}")
    return ListedImage("", UNKNOWN_SIZE, [_object(*row, num_classes, single_cls) for row in rows])


def _object(number: int, line: bytes, num_classes: int, single_cls: bool) -> ListedObject:
    text = line[:MAX_LINE_BYTES].decode("ascii", "backslashreplace")
    written = shown(text.replace("\t", " "))
    try:
        if len(line) > MAX_LINE_BYTES:
            raise RefusedRow(f"the row has {len(line)} bytes, more than the limit of {MAX_LINE_BYTES}")
        category, corners = _parsed([column.strip() for column in text.split(",")], num_classes, single_cls)
    except RefusedRow as problem:
        return ListedObject(number, written, problem=problem)
    return ListedObject(number, written, str(category), corners)


def _parsed(columns: list[str], num_classes: int, single_cls: bool) -> tuple[int, Corners]:
    """Category and corners of a row that counts."""
    if len(columns) == len(COLUMNS) + 1 and not columns[-1]:
        columns.pop()  # some of the published rows end with a comma
    if len(columns) != len(COLUMNS):
        raise RefusedRow(
            f"{counted(len(columns), 'column')}; a row has {len(COLUMNS)}, with commas between: {', '.join(COLUMNS)}"
        )
    numbers = [number_in(column, name) for name, column in zip(COLUMNS, columns, strict=True)]
    left, top, width, height, score, category = numbers[:6]
    if not (0 <= category < LARGEST and category.is_integer()):
        raise RefusedRow(f"category `{shown(columns[5])}` is not a whole number from 0 to {LARGEST - 1}")
    if score not in (0, 1):
        raise RefusedRow(f"score `{shown(columns[4])}` is neither 0 nor 1, as labels have it; is this a detection?")
    if category == REGION:
        raise RefusedRow("a region where objects are not labelled one by one", "ignored")
    if category == OTHERS and num_classes < OTHERS:
        raise RefusedRow(f"category {OTHERS}, other vehicles", "ignored")
    if score == 0:
        raise RefusedRow("its score is 0: it does not count", "ignored")
    if category > num_classes and not single_cls:
        told = f"category {int(category)} is none of the {counted(num_classes, 'class')}"
        raise RefusedRow(told, "unknown class", str(int(category)))
    return int(category), (left, top, left + width, top + height)
