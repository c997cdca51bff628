"""VisDrone's text files: what happens to every row, and of files that are not what they should be."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from small_dataset import tree_digest
from visdrone_dataset import make_visdrone, row

from onelook.data.formats.annotated import annotated_rows
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.visdrone_file import MAX_LINE_BYTES, MAX_ROWS, NAMES, classes_of, parse_visdrone
from onelook.data.scan.index import scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.errors import DataError

IMAGE = (16, 20)


def rows_of(text: str | bytes, *, num_classes: int = 10, single_cls: bool = False) -> LabelRows:
    data = text if isinstance(text, bytes) else text.encode()
    parse = partial(parse_visdrone, num_classes=num_classes, single_cls=single_cls)
    return annotated_rows(data, IMAGE, None if single_cls else classes_of(num_classes), parse)


def corners_px(rows: LabelRows) -> list[list[float]]:
    boxes = rows.boxes.astype(float) * [20, 16, 20, 16]
    return np.round(np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1), 4).tolist()


USED = [
    ("box", row(), [2, 3, 12, 11]),
    ("comma at the end", row(more=","), [2, 3, 12, 11]),
    ("spaces, tabs and CRLF", " 2, 3 ,\t10,8,1,4,0,0 \r\n", [2, 3, 12, 11]),
    ("no end of line", row().strip(), [2, 3, 12, 11]),
    ("blank lines", f"\n\r\n  \n{row()}\n", [2, 3, 12, 11]),
    ("byte-order mark", b"\xef\xbb\xbf" + row().encode(), [2, 3, 12, 11]),
    ("fractions", row(box=(2.5, 3.25, 9.625, 7.75)), [2.5, 3.25, 12.125, 11]),
    ("over the edge", row(box=(10, 3, 14, 8)), [10, 3, 20, 11]),
    ("truncated", row(truncation=1), [2, 3, 12, 11]),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in USED], ids=[case[0] for case in USED])
def test_row_becomes_a_box(text: str | bytes, expected: list[float]) -> None:
    rows = rows_of(text)
    assert (corners_px(rows), rows.class_ids.tolist(), rows.rows_read) == ([expected], [3], 1)


LEFT_OUT = [
    (row(0, score=0), "ignored", "a region where objects are not labelled one by one"),
    (row(0), "ignored", "a region where objects are not labelled one by one"),
    (row(11), "ignored", "category 11, other vehicles"),
    (row(score=0), "ignored", "its score is 0"),
    (row(5), "deduplicated", "a duplicate of an object above"),
    (row(12), "unknown class", "category 12 is none of the 10 classes"),
    (row("4.5"), "refused", "category `4.5` is not a whole number"),
    (row(-1), "refused", "category `-1` is not a whole number from 0"),
    (row("1e400"), "refused", "category `1e400` is not a whole number"),
    (row("1e300"), "refused", "category `1e300` is not a whole number"),
    (row("car"), "refused", "`category` is `car`, not a number"),
    (row(box=("x", 3, 10, 8)), "refused", "`left` is `x`, not a number"),
    (row(box=("nan", 3, 10, 8)), "refused", "`left` is `nan`, not a number"),
    (row(box=(2, "", 10, 8)), "refused", "`top` is ``, not a number"),
    (row(box=(2, 3, "1_0", 8)), "refused", "`width` is `1_0`, not a number"),
    (row(box=(2, 3, "1e400", 8)), "refused", "a coordinate is not finite"),
    (row(box=("-1e400", 3, "1e400", 8)), "refused", "a coordinate is not finite"),
    (row(truncation="?"), "refused", "`truncation` is `?`, not a number"),
    (row(score=0.87, truncation=-1), "refused", "score `0.87` is neither 0 nor 1, as labels have it; is this a det"),
    (row(box=(2, 3, 0, 8)), "refused", "no area"),
    (row(box=(2, 3, 10, -8)), "refused", "a width or height is negative"),
    (row(box=(30, 3, 10, 8)), "refused", "the centre is outside the image"),
    (row(box=(2, 3, 10)), "refused", "7 columns; a row has 8, with commas between: left, top, width"),
    (row(more=",,"), "refused", "10 columns"),
    ("3 0.5 0.5 0.1 0.1\n", "refused", "1 column;"),
    ("1," * MAX_LINE_BYTES, "refused", f"more than the limit of {MAX_LINE_BYTES}"),
]


@pytest.mark.parametrize(("text", "outcome", "reason"), LEFT_OUT, ids=[case[2] for case in LEFT_OUT])
def test_row_that_is_left_out_is_told_with_line_value_and_reason(text: str, outcome: str, reason: str) -> None:
    rows = rows_of(f"{row(5)}\n{text}")
    (problem,) = rows.problems
    assert (problem.line, problem.place, problem.outcome, rows.rows_read, len(rows)) == (3, "", outcome, 2, 1)
    assert reason in problem.reason
    assert problem.value and problem.value[:4] in text


NO_LABELS = [
    ("UTF-16", row().encode("utf-16"), "the file is UTF-16 text"),
    ("rows", b"1\n" * (MAX_ROWS + 1), f"the file has {MAX_ROWS + 1} rows, more than the limit"),
]


@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in NO_LABELS], ids=[case[0] for case in NO_LABELS])
def test_file_that_is_no_label_file_counts_as_one_refused_row(data: bytes, reason: str) -> None:
    rows = rows_of(data)
    assert (rows.rows_read, len(rows), rows.problems[0].outcome) == (1, 0, "refused")
    assert reason in rows.problems[0].reason


def test_category_is_the_place_of_the_class_counted_from_one() -> None:
    assert rows_of("".join(row(category, (category, 1, 4, 4)) for category in range(1, 11))).class_ids.tolist() == [
        *range(10)
    ]


def test_others_are_a_class_if_there_are_eleven() -> None:
    assert rows_of(row(11), num_classes=11).class_ids.tolist() == [10]
    assert rows_of(row(11), num_classes=3).problems[0].outcome == "ignored"
    assert rows_of(row(4), num_classes=3).problems[0].outcome == "unknown class"


def test_all_count_as_one_but_for_what_is_set_aside() -> None:
    rows = rows_of(row(1) + row(99, (1, 1, 5, 5)) + row(0) + row(11) + row(2), single_cls=True)
    assert rows.class_ids.tolist() == [0, 0]
    assert [problem.outcome for problem in rows.problems] == ["ignored", "ignored", "deduplicated"]


def test_ledger_adds_up_over_all_kinds_of_files(tmp_path: Path) -> None:
    spec = make_visdrone(
        tmp_path,
        {
            "a": row(1) + row() + row() + row(0, score=0) + row(box=(2, 3, 0, 8)) + row(box=(10, 3, 14, 8)),
            "b": "",
            "c": None,
            "d": row(box=(100, 3, 10, 8)),
            "e": row(0) + row(11),
            "f": b"\xff\xfe",
        },
    )
    assert spec.names == NAMES
    ledger = scan_split(spec, "train").ledger
    assert (ledger.images_found, ledger.images_empty, ledger.images_missing, ledger.images_unusable) == (1, 1, 1, 3)
    assert (ledger.rows_read, ledger.rows_used, ledger.rows_clipped) == (10, 3, 1)
    assert (ledger.rows_deduplicated, ledger.rows_refused, ledger.rows_ignored) == (1, 3, 3)
    told = [(Path(entry.file).name, entry.line, entry.outcome) for entry in ledger.entries]
    assert told == [
        ("a.txt", 3, "deduplicated"), ("a.txt", 4, "ignored"), ("a.txt", 5, "refused"), ("a.txt", 6, "clipped"),
        ("d.png", 0, "unusable image"), ("d.txt", 1, "refused"),
        ("e.png", 0, "unusable image"), ("e.txt", 1, "ignored"), ("e.txt", 2, "ignored"),
        ("f.png", 0, "unusable image"), ("f.txt", 0, "refused"),
    ]  # fmt: skip
    assert str(ledger.of("refused")[0]).endswith("a.txt` line 5: no area inside the image: a width or height is 0 "
                                                 "(`2,3,0,8,1,4,0,0`)")  # fmt: skip


def test_unknown_categories_stop_the_scan_unless_all_count_as_one(tmp_path: Path) -> None:
    spec = make_visdrone(tmp_path, {"a": row(2) + row(4)}, yaml="names: [walker, sitter]\n")
    with pytest.raises(DataError, match="the classes `4` are not among the 2 classes") as error:
        scan_split(spec, "train")
    assert "a.txt` line 2: category 4 is none of the 2 classes" in str(error.value)
    result = scan_split(spec, "train", options=ScanOptions(single_cls=True))
    assert (result.index.class_ids.tolist(), result.ledger.rows_deduplicated) == ([0], 1)


def test_data_folder_is_never_touched_and_changes_are_noticed(tmp_path: Path) -> None:
    spec, cache = make_visdrone(tmp_path / "data", {"a": row(), "b": row(11)}), tmp_path / "cache"
    before = tree_digest(tmp_path / "data")
    assert [scan_split(spec, "train", cache_folder=cache).from_cache for _ in range(2)] == [False, True]
    assert tree_digest(tmp_path / "data") == before
    (tmp_path / "data/annotations/a.txt").write_text(row() + row(2))
    assert len(scan_split(spec, "train", cache_folder=cache).index.class_ids) == 2
    eleven = make_visdrone(tmp_path / "data", {}, yaml=f"names: [{', '.join(NAMES)}, others]")
    assert scan_split(eleven, "train", cache_folder=cache).index.class_ids.tolist() == [3, 1, 10]


def test_file_that_cannot_be_read_counts_as_one_refused_row(tmp_path: Path) -> None:
    spec = make_visdrone(tmp_path, {"a": row(), "b": None})
    (tmp_path / "annotations/b.txt").mkdir()
    (entry,) = scan_split(spec, "train").ledger.of("refused")
    assert "is not a regular file" in entry.reason


def test_labels_that_are_elsewhere_are_looked_for_where_the_yaml_says(tmp_path: Path) -> None:
    spec = make_visdrone(tmp_path, {"a": row(), "b": None, "c": None})
    with pytest.raises(
        DataError, match=r"2 of 3 images have no label file; looked for `.*/annotations/b\.txt`"
    ) as error:
        scan_split(spec, "train")
    assert f"lies below `{tmp_path / 'annotations'}` as the image lies below its folder" in str(error.value)
