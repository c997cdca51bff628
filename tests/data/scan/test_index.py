"""The scan of a split."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from small_dataset import GOOD_ROW, make_dataset, pixels, tree_digest

from onelook.data.parallel_map import Work
from onelook.data.scan import files as scan_files
from onelook.data.scan.index import scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.data.splits import warn_of_overlap
from onelook.errors import DataError, StopRequested

MIXED: dict[str, str | bytes | None] = {
    "a": "0 0.5 0.5 0.2 0.1\n1 0.1 0.2 0.5 0.2 0.5 0.8\n",
    "b": None,
    "c": "\n",
    "d": "1 0.9 0.5 0.4 0.5\n1 0.9 0.5 0.4 0.5\n0 nan 0.5 0.1 0.1\n",
}


def test_index_holds_every_usable_image_and_label_in_order(tmp_path: Path) -> None:
    result = scan_split(make_dataset(tmp_path, MIXED), "train")
    index = result.index
    assert [Path(path).name for path in index.paths] == ["a.png", "b.png", "c.png", "d.png"]
    assert index.sizes_hw.tolist() == [[16, 20]] * 4
    assert index.offsets.tolist() == [0, 2, 2, 2, 3]
    assert index.class_ids.tolist() == [0, 1, 1]
    assert index.boxes == pytest.approx(np.array([[0.5, 0.5, 0.2, 0.1], [0.3, 0.5, 0.4, 0.6], [0.85, 0.5, 0.3, 0.5]]))
    assert index.polygon_of(0) is None
    assert index.polygon_of(1) == pytest.approx(np.array([[0.1, 0.2], [0.5, 0.2], [0.5, 0.8]]))
    assert [a.dtype for a in (index.sizes_hw, index.offsets, index.class_ids, index.boxes, index.polygon_points)] == [
        np.int32, np.int64, np.int64, np.float32, np.float32,
    ]  # fmt: skip


def test_ledger_accounts_for_everything(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {**MIXED, "e": GOOD_ROW * 2}, images={"e.png": b"broken"})
    ledger = scan_split(spec, "train").ledger
    ledger.check()
    assert (ledger.images_found, ledger.images_missing, ledger.images_empty, ledger.images_unusable) == (2, 1, 1, 1)
    assert (ledger.rows_as_is, ledger.rows_clipped, ledger.rows_deduplicated, ledger.rows_refused) == (2, 1, 1, 3)
    told = [(Path(entry.file).name, entry.line, entry.outcome, entry.rows) for entry in ledger.entries]
    assert told == [
        ("d.txt", 1, "clipped", 1), ("d.txt", 2, "deduplicated", 1), ("d.txt", 3, "refused", 1),
        ("e.png", 0, "unusable image", 0), ("e.txt", 0, "refused", 2),
    ]  # fmt: skip


def test_labels_of_an_unusable_image_are_not_in_the_index(tmp_path: Path) -> None:
    polygon = "1 0.1 0.2 0.5 0.2 0.5 0.8\n"
    spec = make_dataset(
        tmp_path, {"a": polygon, "b": GOOD_ROW + polygon, "c": polygon + GOOD_ROW}, images={"b.png": b"broken"}
    )
    index = scan_split(spec, "train").index
    assert index.offsets.tolist() == [0, 1, 3]
    assert index.class_ids.tolist() == [1, 1, 0]
    assert index.polygon_offsets.tolist() == [0, 3, 6, 6]
    assert len(index.boxes) == 3 and len(index.polygon_points) == 6


def test_image_whose_rows_are_all_refused_is_no_background(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW, "b": "0 0.5 0.5 nan 0.1\n"})
    result = scan_split(spec, "train")
    assert [Path(path).name for path in result.index.paths] == ["a.png"]
    assert "none of its label rows" in result.ledger.of("unusable image")[0].reason


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(tmp_path: Path, workers: int) -> None:
    spec = make_dataset(tmp_path, {f"{n:03}": f"{n % 2} 0.5 0.5 0.{n + 1:03} 0.1" for n in range(50)})
    alone, together = scan_split(spec, "train"), scan_split(spec, "train", work=Work(workers))
    assert alone.index.fingerprint == together.index.fingerprint
    assert alone.index.paths == together.index.paths
    assert alone.ledger == together.ledger


def test_fingerprint_follows_the_content_not_the_place(tmp_path: Path) -> None:
    prints = []
    for name, label in [("one", GOOD_ROW), ("two", GOOD_ROW), ("three", GOOD_ROW.replace("0.2", "0.3"))]:
        (tmp_path / name).mkdir()
        prints.append(scan_split(make_dataset(tmp_path / name, {"a": label}), "train").index.fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_data_folder_is_never_touched(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    half = pixels(5)[:300]
    spec = make_dataset(data, MIXED, images={"half.png": half})
    before = tree_digest(data)
    for path in [data, *(p for p in data.rglob("*") if p.is_dir())]:
        path.chmod(0o555)
    for _ in range(2):
        scan_split(spec, "train", cache_folder=cache, work=Work(2))
    assert tree_digest(data) == before
    assert any(cache.iterdir())
    for path in [data, *(p for p in data.rglob("*") if p.is_dir())]:
        path.chmod(0o755)


def test_unknown_class_ids_always_stop_the_scan(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW * 1, "b": f"{GOOD_ROW}7 0.5 0.5 0.1 0.1\n", "c": "2 0.5 0.5 0.1 0.1"})
    with pytest.raises(DataError, match=r"class ids 2, 7 are not below the 2 classes") as error:
        scan_split(spec, "train")
    assert "b.txt` line 2" in str(error.value)
    assert "c.txt` line 1" in str(error.value)


def test_single_class_takes_any_id(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": f"{GOOD_ROW}7 0.5 0.5 0.1 0.1\n"})
    result = scan_split(spec, "train", options=ScanOptions(single_cls=True), cache_folder=tmp_path / "cache")
    assert result.index.class_ids.tolist() == [0, 0]
    with pytest.raises(DataError, match="class ids 7"):
        scan_split(spec, "train", cache_folder=tmp_path / "cache")


def test_bad_rows_and_images_are_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = make_dataset(tmp_path, MIXED, images={"x.png": b"text"})
    with caplog.at_level(logging.WARNING):
        scan_split(spec, "train")
    (record,) = caplog.records
    assert "1 of 5 images and 1 of 5 label rows cannot be used" in record.getMessage()
    assert "column 2 is `nan`" in record.getMessage()


def test_strict_scan_stops_with_a_list(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {f"{n:02}": GOOD_ROW + "0 1 2\n" for n in range(30)}, images={"x.png": b"text"})
    with pytest.raises(DataError, match="cannot use 1 image and 30 label rows") as error:
        scan_split(spec, "train", options=ScanOptions(strict=True))
    assert "... and 11 more" in str(error.value)
    assert "00.txt` line 2: 3 columns" in str(error.value)
    assert scan_split(spec, "val", options=ScanOptions(strict=True)).ledger.rows_used == 1


def test_mostly_missing_labels_are_an_error_unless_allowed(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW, "b": None, "c": None})
    with pytest.raises(DataError, match=r"2 of 3 images have no label file; looked for `.*labels/train/b\.txt`"):
        scan_split(spec, "train")
    assert len(scan_split(spec, "train", options=ScanOptions(allow_unlabelled=True)).index) == 3


def test_training_without_any_label_is_an_error_unless_allowed(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": "", "b": "\n"})
    with pytest.raises(DataError, match="not one label"):
        scan_split(spec, "train")
    result = scan_split(spec, "train", options=ScanOptions(allow_unlabelled=True))
    assert (len(result.index), result.ledger.images_empty) == (2, 2)


def test_no_usable_image_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW}, images={"a.png": b"GIF89a"})
    with pytest.raises(DataError, match=r"no image can be used:\n  - `.*a\.png`: this is a GIF"):
        scan_split(spec, "train")


def test_listed_image_that_is_missing_is_unusable(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW})
    (tmp_path / "list.txt").write_text("./images/train/a.png\n./images/train/gone.png\n")
    (tmp_path / "data.yaml").write_text("train: list.txt\nval: images/val\nnames: [cat, dog]\n")
    spec = type(spec)(**{**vars(spec), "splits": {"train": (tmp_path / "list.txt",)}})
    ledger = scan_split(spec, "train").ledger
    assert [(Path(e.file).name, "No such file" in e.reason) for e in ledger.of("unusable image")] == [
        ("gone.png", True)
    ]


def test_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_dataset(tmp_path, {**MIXED, "e": GOOD_ROW, "f": None}, images={"e.png": b"broken"})
    alone = scan_split(spec, "train")
    monkeypatch.setattr(scan_files, "IMAGES_FOR_PROCESSES", 1)
    together = scan_split(spec, "train", work=Work(2))
    assert together.ledger == alone.ledger
    assert together.index.fingerprint == alone.index.fingerprint
    assert np.array_equal(together.image_digests, alone.image_digests)


@pytest.mark.parametrize("workers", [0, 2])
def test_stop_request_ends_the_scan(tmp_path: Path, workers: int) -> None:
    spec = make_dataset(tmp_path, {f"{n:03}": GOOD_ROW for n in range(100)})
    seen: list[int] = []
    with pytest.raises(StopRequested):
        scan_split(spec, "train", work=Work(workers, lambda: bool(seen), lambda d, _: seen.append(d)))
    assert seen == [16]


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {f"{n:03}": GOOD_ROW for n in range(20)})
    seen: list[tuple[int, int]] = []
    scan_split(spec, "train", work=Work(progress=lambda *now: seen.append(now)))
    assert seen == [(16, 20), (20, 20)]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_file_names_may_be_any_bytes(tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"\xff\xfe", "é😀".encode(), b"new\nline", b"e\xcc\x81")]
    spec = make_dataset(tmp_path, dict.fromkeys(names, GOOD_ROW + "0 0\n"))
    for _ in range(2):
        result = scan_split(spec, "train", cache_folder=tmp_path / "cache")
        assert sorted(Path(path).stem for path in result.index.paths) == sorted(names)
        assert result.ledger.rows_used == 4
        result.ledger.to_json().encode("utf-8")
        assert all("\n" not in str(entry) for entry in result.ledger.entries)
    assert result.from_cache


def test_images_in_two_splits_are_found_by_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW, "b": GOOD_ROW})
    train = scan_split(spec, "train")
    assert warn_of_overlap(train, scan_split(spec, "val")) == []
    (tmp_path / "images/val/copy.png").write_bytes((tmp_path / "images/train/b.png").read_bytes())
    assert not caplog.records
    (pair,) = warn_of_overlap(train, scan_split(spec, "val"))
    assert [Path(path).name for path in pair] == ["copy.png", "b.png"]
    assert "1 of 2 images of split `val` are also in split `train`" in caplog.text


def test_the_first_reasons_are_shown_when_every_row_of_a_split_is_bad(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, dict.fromkeys("abc", "0,0.5,0.5,0.2,0.1\n"))
    with pytest.raises(DataError, match="no image can be used") as error:
        scan_split(spec, "train")
    assert "a.png`: none of its label rows can be used, the first in line 1: column 1 is `0,0.5" in str(error.value)
    assert "columns are separated by spaces, not by commas (`0,0.5,0.5,0.2,0.1`)" in str(error.value)


def test_the_first_reasons_are_shown_when_no_label_is_left(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": "", "b": "0 0.5 0.5 nan 0.1\n"})
    with pytest.raises(DataError, match="not one label that can be used:") as error:
        scan_split(spec, "train")
    assert "b.txt` line 1: column 4 is `nan`, not a number" in str(error.value)
