"""YOLO label files: what each kind of row becomes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from onelook.data.formats.yolo import label_path_of, parse_labels, read_labels, read_many
from onelook.data.formats.yolo_bulk import parse_clean

USED_AS_IS = [
    ("2 0.5 0.5 0.2 0.1", 2, [0.5, 0.5, 0.2, 0.1]),
    ("2.0 .5 5e-1 +0.2 0.1", 2, [0.5, 0.5, 0.2, 0.1]),
    ("\t0\t0.5  0.5 0.2 0.1 \t", 0, [0.5, 0.5, 0.2, 0.1]),
    ("0 0.5 0.5 1 1", 0, [0.5, 0.5, 1, 1]),
    ("0 0.0999995 0.5 0.2 0.1", 0, [0.0999995, 0.5, 0.2, 0.1]),
    ("1 0.1 0.2 0.5 0.2 0.5 0.8", 1, [0.3, 0.5, 0.4, 0.6]),
    ("1 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8", 1, [0.3, 0.5, 0.4, 0.6]),
]


@pytest.mark.parametrize(("row", "class_id", "box"), USED_AS_IS)
def test_good_rows_are_used_as_they_are(row: str, class_id: int, box: list[float]) -> None:
    labels = parse_labels(row.encode(), 3)
    assert (labels.class_ids.tolist(), labels.rows_read, labels.problems) == ([class_id], 1, ())
    assert labels.boxes == pytest.approx(np.array([box]), abs=1e-6)


CLIPPED = [
    ("0 0.5 0.5 1.0004 0.5", [0.5, 0.5, 1, 0.5]),
    ("0 0.9 0.5 0.4 0.5", [0.85, 0.5, 0.3, 0.5]),
    ("0 1.0005 0.5 0.2 0.5", [0.95025, 0.5, 0.0995, 0.5]),
    ("0 -0.0005 0.5 0.2 0.5", [0.04975, 0.5, 0.0995, 0.5]),
    ("0 0.5 0.5 3 0.5", [0.5, 0.5, 1, 0.5]),
    ("0 0.2 0.2 1.0005 0.2 0.5 0.8", [0.6, 0.5, 0.8, 0.6]),
    ("0 -0.2 0.2 0.8 0.2 0.5 0.8", [0.4, 0.5, 0.8, 0.6]),
]


@pytest.mark.parametrize(("row", "box"), CLIPPED)
def test_rows_that_leave_the_image_are_clipped_and_told(row: str, box: list[float]) -> None:
    labels = parse_labels(row.encode(), 3)
    assert labels.boxes == pytest.approx(np.array([box]), abs=1e-6)
    assert [problem.outcome for problem in labels.problems] == ["clipped"]
    assert "extends beyond the image" in labels.problems[0].reason
    points = labels.polygon_points
    assert points.size == 0 or (points.min() >= 0 and points.max() <= 1)


@pytest.mark.parametrize(
    ("row", "is_doubted"),
    [
        ("0 0.2 0.2 0.8 0.9", True),
        ("0 0.55 0.2 0.95 0.9", True),
        ("0 0.5 0.5 3 0.5", False),  # no corner lies there
        ("0 0.9 0.5 0.4 0.6", False),  # the second corner would be left of the first
        ("0 0.3 0.3 0.65 0.5", False),  # a box drawn a little too far
        ("0 0.4 0.4 0.5 0.5", False),  # within the image: no way to know
    ],
)
def test_a_clipped_row_that_may_be_corners_is_doubted(row: str, is_doubted: bool) -> None:
    kinds = [problem.kind for problem in parse_labels(row.encode(), 3).problems]
    assert ("corner-row" in kinds) == is_doubted


REFUSED = [
    ("0;0.5;0.5;0.2;0.1", "columns are separated by spaces, not by semicolons"),
    ("0\u00a00.5\u00a00.5\u00a00.2\u00a00.1", "columns are separated by spaces, not by no-break spaces"),
    ("0 0.5 0.5 0.2", "4 columns"),
    ("0", "1 column;"),
    ("0 0.5 0.5 0.2 0.1 0.9", "6 columns"),
    ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 columns"),
    ("0 nan 0.5 0.2 0.1", "column 2 is `nan`"),
    ("0 0.5 inf 0.2 0.1", "column 3 is `inf`"),
    ("0 0.5 0.5 1e999 0.1", "larger than"),
    ("0 0.5 0.5 0x1 0.1", "column 4 is `0x1`"),
    ("0 0.5 0.5 1_0 0.1", "column 4 is `1_0`"),
    ("0,0.5,0.5,0.2,0.1", "column 1 is `0,0.5,0.5,0.2,0.1`"),
    ("0 0,5 0,5 0,2 0,1", "column 2 is `0,5`"),
    ("cat 0.5 0.5 0.2 0.1", "column 1 is `cat`"),
    ("0 0.5 0.5 0.2 0.1\0", "not a number"),
    ("0 0.5 0.5 0.2 ٠.١", "not a number"),
    ("0.5 0.5 0.5 0.2 0.1", "class id `0.5`"),
    ("-1 0.5 0.5 0.2 0.1", "class id `-1`"),
    ("0 0.5 0.5 -0.2 0.1", "negative"),
    ("0 0.5 0.5 0 0.1", "no area"),
    ("0 0.5 0.5 0.2 1e-60", "no area"),
    ("0 1.002 0.5 0.2 0.1", "outside"),
    ("0 -0.3 0.5 0.2 0.1", "outside"),
    ("0 320 240 100 50", "outside"),
    ("0 1.0009 0.5 0.001 0.1", "no area"),
    ("0 0.1 0.1 0.2 0.1 0.3 0.1", "no area"),
    ("0 1.1 0.1 1.2 0.1 1.3 0.4", "outside"),
]


@pytest.mark.parametrize(("row", "reason"), REFUSED)
def test_bad_rows_are_refused_with_a_reason_and_spare_the_others(row: str, reason: str) -> None:
    labels = parse_labels(f"1 0.5 0.5 0.2 0.1\n\n{row}\n2 0.4 0.5 0.2 0.1".encode(), 3)
    assert labels.class_ids.tolist() == [1, 2]
    (problem,) = labels.problems
    assert (problem.line, problem.outcome, labels.rows_read) == (3, "refused", 3)
    assert reason in problem.reason
    assert problem.value.isprintable()


def test_unknown_class_is_told_apart() -> None:
    labels = parse_labels(b"3 0.5 0.5 0.2 0.1", 3)
    assert [(p.outcome, p.reason) for p in labels.problems] == [
        ("unknown class", "class id 3 is not below the 3 classes")
    ]
    assert parse_labels(b"3 0.5 0.5 0.2 0.1", None).class_ids.tolist() == [3]


def test_repeated_rows_are_used_once_in_the_order_of_the_file() -> None:
    labels = parse_labels(b"2 0.5 0.5 0.2 0.1\n0 0.5 0.5 0.2 0.1\n2 0.50 .5 2e-1 0.1\n", 3)
    assert labels.class_ids.tolist() == [2, 0]
    assert [(p.line, p.outcome) for p in labels.problems] == [(3, "deduplicated")]


def test_boxes_and_polygons_mix_in_one_file() -> None:
    labels = parse_labels(b"0 0.5 0.5 0.2 0.1\n1 0.1 0.2 0.5 0.2 0.5 0.8\n0 0.4 0.5 0.2 0.1", 3)
    assert labels.polygon_lengths.tolist() == [0, 3, 0]
    assert labels.polygon_points == pytest.approx(np.array([[0.1, 0.2], [0.5, 0.2], [0.5, 0.8]]))
    assert labels.boxes[2] == pytest.approx([0.4, 0.5, 0.2, 0.1])
    assert len(labels) == 3


ROW = "0 0.5 0.5 0.2 0.1"


@pytest.mark.parametrize(
    "data",
    [
        f"{ROW}\n1 0.4 0.5 0.2 0.1".encode(),
        f"{ROW}\r\n1 0.4 0.5 0.2 0.1\r\n".encode(),
        f"{ROW}\r1 0.4 0.5 0.2 0.1".encode(),
        f"\ufeff{ROW}\n\n  \n1 0.4 0.5 0.2 0.1\n\n".encode(),
    ],
)
def test_line_ends_blank_lines_and_byte_order_mark_do_not_matter(data: bytes) -> None:
    labels = parse_labels(data, 3)
    assert (labels.class_ids.tolist(), labels.problems) == ([0, 1], ())


@pytest.mark.parametrize("data", [b"", b"\n \r\n\t\n", b"\xef\xbb\xbf"])
def test_file_without_rows_is_empty(data: bytes) -> None:
    labels = parse_labels(data, 3)
    assert (len(labels), labels.rows_read, labels.boxes.shape) == (0, 0, (0, 4))


def test_utf16_is_refused_with_its_cure() -> None:
    labels = parse_labels(ROW.encode("utf-16"), 3)
    assert (len(labels), labels.rows_read) == (0, 1)
    assert "UTF-8" in labels.problems[0].reason


def test_huge_rows_and_files_are_refused(tmp_path: Path) -> None:
    labels = parse_labels(b"0 " + b"0.5 " * 300_000 + b"\n" + ROW.encode(), 3)
    assert [(p.line, p.outcome, len(p.value) < 100) for p in labels.problems] == [(1, "refused", True)]
    assert len(labels) == 1
    huge = tmp_path / "huge.txt"
    huge.write_bytes(b"")
    os.truncate(huge, 1 << 30)
    assert "limit" in read_labels(str(huge), 3).problems[0].reason


def test_unreadable_label_files_are_refused_rows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    for name in ("pipe.txt", "."):
        labels = read_labels(str(tmp_path / name), 3)
        assert (labels.rows_read, labels.problems[0].line, labels.problems[0].outcome) == (1, 0, "refused")
        assert "regular" in labels.problems[0].reason


def test_many_at_once_are_read_with_all_that_can_be_wrong(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    contents = {
        "a": ROW,
        "b": f"{ROW}\n{ROW}\n",
        "empty": "",
        "blank": " \n\r\n",
        "c": f"0 0.1 0.2 0.5 0.2 0.5 0.8\n{ROW}\r{ROW}2",
        "d": "0 .5 5e-1 1 0.3333333333333333",
        "long": "\n".join(f"0 0.5 0.5 0.2 0.{number:06}" for number in range(1, 8000)),
    }
    for name, text in contents.items():
        (tmp_path / f"{name}.txt").write_text(text, newline="")
    paths = [str(tmp_path / f"{name}.txt") for name in ("a", "pipe", *contents)]
    for path, together in zip(paths, read_many(paths, 3), strict=True):
        alone = read_labels(path, 3)
        assert np.array_equal(together.boxes, alone.boxes), path
        assert np.array_equal(together.class_ids, alone.class_ids), path
        assert (together.rows_read, together.problems) == (alone.rows_read, alone.problems), path


def test_numbers_of_thousands_of_digits_are_read_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    rows = parse_labels(b"0" * 5000 + b" 0." + b"5" * 5000 + b" 0.5 0.2 0.1\n", 2)
    assert rows.boxes[:, 0].tolist() == [np.float32(5 / 9)] and not recwarn.list


@pytest.mark.parametrize("digits", range(1, 20))
def test_decimals_of_any_length_are_read_to_the_last_bit(digits: int) -> None:
    rng = np.random.Generator(np.random.Philox(key=digits))
    below = rng.uniform(0.3, 0.6, 400).astype(np.float32)
    # Half-way between two that can be kept: an error in the last bit of the number that is read shows.
    halfway = (below.astype(np.float64) + np.nextafter(below, np.float32(1))) / 2
    written = [f"{value:.{digits}f}" for value in halfway]
    texts = ["0 " + " ".join(written[start : start + 4]) for start in range(0, 400, 4)]
    found = parse_clean([text.encode() for text in texts], 1)
    boxes = np.concatenate([rows.boxes for rows in found if rows is not None])
    assert boxes.ravel().tolist() == [float(np.float32(float(text))) for text in written]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/images/x/images/a.b.png", "/images/x/labels/a.b.txt"),
        ("/d/photos/a.jpg", "/d/photos/a.txt"),
        ("/d.v1/images_old/a", "/d.v1/images_old/a.txt"),
    ],
)
def test_label_path_replaces_the_last_images_folder(image: str, label: str) -> None:
    assert label_path_of(image) == label


def test_fast_way_reads_the_plain_rows_of_this_page_as_the_slow_way_does() -> None:
    rows = [row.encode() for row, *_ in [*USED_AS_IS, *CLIPPED, *REFUSED]]
    fast = {row: found for row, found in zip(rows, parse_clean(rows, 3), strict=True) if found is not None}
    assert set(fast) == {row.encode() for row, *_ in USED_AS_IS[:5]}
    for row, found in fast.items():
        slow = parse_labels(row, 3)
        assert (found.rows_read, found.problems) == (slow.rows_read, slow.problems)
        assert np.array_equal(found.boxes, slow.boxes)
