"""Parquet files: images are unpacked into the cache folder, and every object is used or told."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_dataset import pixels, tree_digest

from onelook.data.dataset_layout import open_dataset
from onelook.data.dataset_spec import load_dataset_spec
from onelook.data.formats.parquet import parquet_rows
from onelook.data.scan.index import ScanResult, scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.errors import DataError

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

OPTIONS = ScanOptions(allow_unlabelled=True)
FEATURES = {
    "image": {"_type": "Image"},
    "objects": {
        "feature": {
            "bbox": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"},
            "category": {"names": ["cat", "dog"], "_type": "ClassLabel"},
        },
        "_type": "Sequence",
    },
}
BOX = [2.0, 3.0, 10.0, 8.0]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(path: Path, rows: Sequence[dict[str, Any]], *, features: Any = FEATURES) -> None:
    table = pyarrow.Table.from_pylist(list(rows))
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path)


def row(number: int, boxes: Sequence[Any] = (BOX,), categories: Sequence[Any] = (0,), **more: Any) -> dict[str, Any]:
    objects = {"bbox": list(boxes), "category": list(categories)}
    return {"image": {"bytes": pixels(number), "path": f"{number}.png"}, "objects": objects, **more}


def scan(folder: Path, rows: Sequence[dict[str, Any]], **more: Any) -> ScanResult:
    for name in ("train", "validation"):
        write(folder / f"data/{name}-00000-of-00001.parquet", rows, **more)
    return scan_split(open_dataset(folder), "train", options=OPTIONS)


def test_images_and_objects_become_a_dataset(tmp_path: Path, cache: Path) -> None:
    rows = [row(0), row(1, [BOX, [0, 0, 5, 5]], [1, 0]), row(2, [], [])]
    result = scan(tmp_path / "hf", rows)
    assert result.index.class_ids.tolist() == [0, 1, 0]
    assert result.index.offsets.tolist() == [0, 1, 3, 3]
    assert (result.index.boxes[0] * [20, 16, 20, 16]).tolist() == pytest.approx([7, 7, 10, 8])
    assert [Path(path).read_bytes() for path in result.index.paths] == [pixels(number) for number in range(3)]
    assert all(Path(path).is_relative_to(cache) and path.endswith(".png") for path in result.index.paths)
    assert (result.ledger.images_found, result.ledger.images_empty) == (2, 1)


def test_several_files_are_one_split_and_none_is_touched(tmp_path: Path, cache: Path) -> None:
    for number in range(3):
        write(tmp_path / f"hf/train-{number}-of-3.parquet", [row(2 * number), row(2 * number + 1)])
    write(tmp_path / "hf/test.parquet", [row(9)])
    (tmp_path / "hf/data.yaml").write_text("format: parquet\ntrain: train-*.parquet\nval: [test.parquet]\n")
    before = tree_digest(tmp_path / "hf")
    results = [scan_split(load_dataset_spec(tmp_path / "hf"), "train", cache_folder=cache) for _ in range(2)]
    assert [Path(path).read_bytes() for path in results[0].index.paths] == [pixels(number) for number in range(6)]
    assert [result.from_cache for result in results] == [False, True]
    assert tree_digest(tmp_path / "hf") == before
    assert len(list((cache / "parquet").iterdir())) == 3


def test_fingerprint_follows_the_content_not_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prints = []
    for name, number in [("one", 0), ("two", 0), ("three", 1)]:
        monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / f"cache of {name}"))
        prints.append(scan(tmp_path / name, [row(0, categories=[number])]).index.fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_changed_file_is_unpacked_again(tmp_path: Path) -> None:
    assert Path(scan(tmp_path / "hf", [row(0)]).index.paths[0]).read_bytes() == pixels(0)
    assert Path(scan(tmp_path / "hf", [row(5)]).index.paths[0]).read_bytes() == pixels(5)


def test_edit_that_keeps_the_size_and_sets_the_time_back_changes_images_and_labels(tmp_path: Path) -> None:
    (first, second), file = (row(0), row(1, categories=[1])), tmp_path / "data/train-00000-of-00001.parquet"
    scan(tmp_path, [first, second])
    status = file.stat()
    write(file, [second, first])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    index = scan_split(open_dataset(tmp_path), "train").index
    assert index.class_ids.tolist() == [1, 0]
    assert [Path(path).read_bytes() for path in index.paths] == [pixels(1), pixels(0)]


LISTED = [{"bbox": BOX, "category": 1}, {"bbox": [0.0, 0.0, 4.0, 4.0], "category": 0}]
FORMS: list[tuple[str, dict[str, Any], list[int]]] = [
    ("list of objects", {"objects": LISTED}, [1, 0]),
    ("label", {"objects": {"bbox": [BOX], "label": [1]}}, [1]),
    ("names", {"objects": {"bbox": [BOX], "category": ["dog"]}}, [1]),
    ("column of annotations", {"annotations": {"bboxes": [BOX], "category_id": [1]}}, [1]),
    ("plain bytes", {"image": pixels(3), "objects": {"bbox": [BOX], "category": [1]}}, [1]),
    ("size", {"objects": {"bbox": [BOX], "category": [1]}, "width": 20, "height": 16}, [1]),
]


@pytest.mark.parametrize(("columns", "class_ids"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_usual_forms_are_understood(tmp_path: Path, columns: dict[str, Any], class_ids: list[int]) -> None:
    content = {"image": {"bytes": pixels(3), "path": None}, **columns}
    features = {"annotations" if "annotations" in columns else "objects": FEATURES["objects"]}
    assert scan(tmp_path, [content], features=features).index.class_ids.tolist() == class_ids


LEFT_OUT: list[tuple[Any, str, str]] = [
    ({"bbox": [1.0, 2.0], "category": 0}, "refused", "`bbox` is not a list of four numbers"),
    ({"bbox": None, "category": 0}, "refused", "`bbox` is not a list of four numbers"),
    ({"bbox": [1.0, 2.0, float("nan"), 3.0], "category": 0}, "refused", "not finite"),
    ({"bbox": [1.0, 2.0, -1.0, 3.0], "category": 0}, "refused", "negative"),
    ({"bbox": [0.1, 0.2, 0.5, 0.5], "category": 0}, "refused", "are these fractions of the image?"),
    ({"bbox": BOX}, "refused", "`category` is None, neither a class number nor a name"),
    ({"bbox": BOX, "category": 1.5}, "refused", "`category` is 1.5"),
    ({"bbox": BOX, "category": 2}, "unknown class", "class 2 is not among the 2 classes"),
    ({"bbox": BOX, "category": -1}, "unknown class", "class -1 is not among"),
    ({"bbox": BOX, "category": "cow"}, "unknown class", "class cow is not among"),
    ({"bbox": BOX, "category": 0, "iscrowd": 1}, "ignored", "a crowd region"),
    ({"bbox": [0, 0, 4, 4], "category": 1}, "deduplicated", "a duplicate of an object above"),
    (7, "refused", "neither a class number nor a name"),
]


@pytest.mark.parametrize(("entry", "outcome", "reason"), LEFT_OUT, ids=[case[2][:30] for case in LEFT_OUT])
def test_object_that_is_left_out_is_told_with_place_and_reason(entry: Any, outcome: str, reason: str) -> None:
    found = [{"bbox": [0, 0, 4, 4], "category": 1}, entry], (None, None)
    rows = parquet_rows(found, (16, 20), {"cat": 0, "dog": 1}, place="row 4", names=["cat", "dog"])
    (problem,) = rows.problems
    assert (problem.place, problem.outcome, rows.rows_read, len(rows)) == ("row 4 object 1", outcome, 2, 1)
    assert reason in problem.reason


@pytest.mark.parametrize("objects", [None, 7, "x", [], {}, {"bbox": 3}, {"bbox": []}])
def test_image_without_objects_is_background(objects: Any) -> None:
    rows = parquet_rows((objects, (None, "x")), (16, 20), {}, place="", names=[])
    assert (rows.rows_read, len(rows), rows.problems) == (0, 0, ())


def test_lists_of_different_lengths_are_told(tmp_path: Path) -> None:
    ledger = scan(tmp_path, [row(0, [BOX, [0, 0, 4, 4]], [0])]).ledger
    assert (ledger.rows_used, ledger.rows_refused) == (1, 1)


def test_row_without_an_image_is_told(tmp_path: Path) -> None:
    ledger = scan(tmp_path, [row(0), {**row(1), "image": {"bytes": None, "path": "elsewhere.png"}}]).ledger
    assert [entry.reason for entry in ledger.of("unusable image")] == ["the file is empty"]
    assert ledger.rows_refused == 1


def test_names_of_the_yaml_win(tmp_path: Path) -> None:
    scan(tmp_path, [row(0, categories=[1])])
    (tmp_path / "data.yaml").write_text(
        "format: parquet\ntrain: data/train*\nval: data/validation*\nnames: [dog, owl, cat]\n"
    )
    assert scan_split(load_dataset_spec(tmp_path), "train").index.class_ids.tolist() == [0]


@pytest.mark.parametrize(
    ("rows", "features", "message"),
    [
        ([{"objects": {"bbox": [BOX], "category": [0]}}], FEATURES, "has no column of images; it has objects"),
        ([{"image": {"bytes": b"", "path": ""}}], FEATURES, "has no column of objects; it has image"),
        ([row(0)], None, "has no class names\nhint: give the `names` in a YAML"),
        ([row(0)], [[]], "has no class names"),
        ([row(0)], {"objects": {"names": ["cat", 3]}}, "has no class names"),
    ],
)
def test_file_of_another_kind_is_an_error(tmp_path: Path, rows: Any, features: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scan(tmp_path, rows, features=features)


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:100], lambda data: b"PAR1" + bytes(40) + b"PAR1"]
)
def test_damaged_file_is_an_error(tmp_path: Path, damage: Any) -> None:
    scan(tmp_path, [row(0)])
    path = tmp_path / "data/train-00000-of-00001.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"Parquet file `.*train-00000-of-00001\.parquet` cannot be read"):
        open_dataset(tmp_path)


def test_image_that_was_removed_from_the_cache_is_an_error_with_a_cure(tmp_path: Path) -> None:
    Path(scan(tmp_path, [row(0), row(1)]).index.paths[0]).unlink()
    with pytest.raises(DataError, match=r"has 1 image of the 2 in .*\nhint: remove it"):
        scan_split(open_dataset(tmp_path), "train")


def test_full_disk_is_told_before_anything_is_unpacked(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"GB are free\nhint: make room, or set ONELOOK_CACHE"):
        scan(tmp_path, [row(0)])
    assert list((cache / "parquet").iterdir()) == []


def test_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(tmp_path, [row(0)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match='hint: pip install "onelook\\[parquet\\]"'):
        open_dataset(tmp_path)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("format: parquet\ntrain: a*.parquet\nval: b\nnames: [cat]\n")
    with pytest.raises(DataError, match=r"Parquet file `.*a\*\.parquet` does not exist"):
        scan_split(load_dataset_spec(tmp_path), "train")
