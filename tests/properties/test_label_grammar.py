"""Any text at all: every row is accounted for, and the fast way says what the slow way says."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.yolo import parse_labels, read_labels, read_many
from onelook.data.formats.yolo_bulk import parse_clean

fractions = st.floats(-0.1, 1.1) | st.integers(0, 10).map(lambda n: n / 10)
numbers = st.one_of(
    fractions.map(repr),
    fractions.map("{:.6f}".format),
    st.integers(-1, 4).map(str),
    st.floats().map(repr),
    st.sampled_from(["0", "1", "-0", "1e-3", ".5", "5.", "+.5", "1e400", "1_0", "0x1", "", "nan", "e", "--1"]),
)
good_rows = st.tuples(st.integers(0, 2), *[st.floats(0.2, 0.3)] * 4).map(lambda row: " ".join(map(str, row)))
rows = good_rows | st.lists(numbers, max_size=10).map(" ".join) | st.text(max_size=30)
texts = st.lists(rows, max_size=8).map("\n".join).map(lambda text: text.encode("utf-8", "surrogatepass"))
clean_texts = st.lists(good_rows, min_size=1, max_size=6).map("\r\n".join).map(str.encode)


def assert_equal(one: LabelRows, other: LabelRows) -> None:
    assert (one.rows_read, one.problems) == (other.rows_read, other.problems)
    for name in ("class_ids", "boxes", "polygon_lengths", "polygon_points"):
        mine, yours = getattr(one, name), getattr(other, name)
        assert mine.dtype == yours.dtype
        assert np.array_equal(mine, yours)


@given(data=texts | st.binary(max_size=200))
@settings(max_examples=30)
def test_every_row_is_accounted_for(data: bytes) -> None:
    labels = parse_labels(data, 3)
    outcomes = Counter(problem.outcome for problem in labels.problems)
    assert labels.rows_read == len(labels) + outcomes["deduplicated"] + outcomes["refused"] + outcomes["unknown class"]
    assert outcomes["clipped"] <= len(labels)
    assert labels.polygon_lengths.sum() == len(labels.polygon_points)


@given(data=texts | st.binary(max_size=200))
@settings(max_examples=30)
def test_used_rows_lie_inside_the_image_and_have_an_area(data: bytes) -> None:
    labels = parse_labels(data, 3)
    half = labels.boxes[:, 2:] / 2
    assert ((labels.class_ids >= 0) & (labels.class_ids < 3)).all()
    assert (half > 0).all()
    assert (labels.boxes[:, :2] - half >= -2e-6).all()
    assert (labels.boxes[:, :2] + half <= 1 + 2e-6).all()
    assert (np.abs(labels.polygon_points - 0.5) <= 0.5 + 2e-6).all()


@given(data=texts | clean_texts)
@settings(max_examples=30)
def test_fast_way_says_what_the_slow_way_says(data: bytes) -> None:
    (fast,) = parse_clean([data], 3)
    assume(fast is not None)
    assert fast is not None
    assert_equal(fast, parse_labels(data, 3))


@given(files=st.lists(texts | clean_texts, min_size=1, max_size=12))
@settings(max_examples=30)
def test_many_files_at_once_give_what_each_gives_alone(files: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        paths = [str(Path(name, f"{number}.txt")) for number in range(len(files))]
        for path, text in zip(paths, files, strict=True):
            Path(path).write_bytes(text)
        for path, together in zip(paths, read_many(paths, 3), strict=True):
            assert_equal(together, read_labels(path, 3))
