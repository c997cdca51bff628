"""COCO files: what happens to every image, category and annotation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_dataset import CATEGORIES, box, make_coco
from small_dataset import tree_digest

from onelook.data.dataset_spec import load_dataset_spec
from onelook.data.formats import coco_file
from onelook.data.formats.masks import box_of_mask
from onelook.data.formats.row_rules import RefusedRow
from onelook.data.parallel_map import Work
from onelook.data.scan.index import ScanResult, scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.errors import DataError

OPTIONS = ScanOptions(allow_unlabelled=True)
SIZE = {"width": 20, "height": 16}


def scan(folder: Path, annotations: list[Any], **more: Any) -> ScanResult:
    return scan_split(make_coco(folder, [box(bbox=[0, 0, 4, 4]), *annotations], **more), "train", options=OPTIONS)


def corners_px(result: ScanResult) -> list[list[float]]:
    """xywh in pixels of all labels but the first."""
    boxes = result.index.boxes[1:].astype(float) * [20, 16, 20, 16]
    return np.round(np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1), 4).tolist()


USED: list[tuple[str, dict[str, Any], list[float]]] = [
    ("box", box(bbox=[2, 3, 10, 8]), [2, 3, 10, 8]),
    ("fractions of a pixel", box(bbox=[2.25, 3.5, 10.125, 8]), [2.25, 3.5, 10.125, 8]),
    ("box to the edges", box(bbox=[0, 0, 20, 16]), [0, 0, 20, 16]),
    ("box over the edge is clipped", box(bbox=[12, 3, 10, 8]), [12, 3, 8, 8]),
    ("no box, polygon", box(bbox=None, segmentation=[[5, 5, 9, 5, 9, 9]]), [5, 5, 4, 4]),
    ("no box, polygon in parts", box(bbox=[], segmentation=[[1, 1, 2, 1, 2, 2], [5, 5, 9, 5, 9, 9]]), [1, 1, 8, 8]),
    ("no box, mask", box(bbox=None, segmentation={"size": [16, 20], "counts": [16, 3, 301]}), [1, 0, 1, 3]),
    ("no box, packed mask", box(bbox=None, segmentation={"size": [16, 20], "counts": "`03]9"}), [1, 0, 1, 3]),
    ("box beside a broken polygon", box(segmentation=[[1, 2]]), [2, 3, 10, 8]),
    ("number of the image as 1.0", box(image=1.0), [2, 3, 10, 8]),
]


@pytest.mark.parametrize(("annotation", "expected"), [case[1:] for case in USED], ids=[case[0] for case in USED])
def test_annotation_becomes_a_box(tmp_path: Path, annotation: dict[str, Any], expected: list[float]) -> None:
    result = scan(tmp_path, [annotation])
    assert corners_px(result) == [expected]
    assert result.ledger.rows_used == 2


LEFT_OUT: list[tuple[Any, str, str]] = [
    (box(iscrowd=1), "ignored", "a crowd region"),
    (box(bbox=[0, 0, 4, 4]), "deduplicated", "a duplicate of an object above"),
    (box(bbox=[1, 2, 3]), "refused", "`bbox` is not a list of four numbers"),
    (box(bbox=[1, 2, "3", 4]), "refused", "`bbox` is not a list of four numbers"),
    (box(bbox=[1, 2, True, 4]), "refused", "`bbox` is not a list of four numbers"),
    (box(bbox={"x": 1}), "refused", "`bbox` is not a list of four numbers"),
    (box(bbox=[1, 2, float("nan"), 4]), "refused", "not finite"),
    (box(bbox=[1, 2, 10**400, 4]), "refused", "not finite"),
    (box(bbox=[1, 2, -3, 4]), "refused", "negative"),
    (box(bbox=[1, 2, 0, 4]), "refused", "no area"),
    (box(bbox=[30, 2, 3, 4]), "refused", "the centre is outside the image"),
    (box(bbox=[0.25, 0.5, 0.5, 0.5]), "refused", "are these fractions of the image?"),
    (box(bbox=None, segmentation=[[0.1, 0.2, 0.9, 0.2, 0.5, 0.7]]), "refused", "are these fractions of the image?"),
    (box(bbox=None), "refused", "neither a `bbox` nor a `segmentation`"),
    (box(bbox=None, segmentation=[]), "refused", "neither a `bbox` nor a `segmentation`"),
    (box(bbox=None, segmentation=[[]]), "refused", "neither a `bbox` nor a `segmentation`"),
    (box(bbox=None, segmentation=[[1, 2, 3, 4]]), "refused", "a polygon that is not a list of x and y"),
    (box(bbox=None, segmentation=[[1, 2, 3, 4, 5, 6], [1, 2]]), "refused", "a part of the polygon is not a list"),
    (box(bbox=None, segmentation=[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, "6"]]), "refused", "that is not a number"),
    (box(bbox=None, segmentation=[["a"] * 6]), "refused", "that is not a number"),
    (box(bbox=None, segmentation=7), "refused", "no `size`"),
    (box(bbox=None, segmentation={"size": [16, 20], "counts": [320]}), "refused", "the mask is empty"),
    (box(bbox=None, segmentation={"size": [16, 21], "counts": [0, 336]}), "refused", "21 x 16 pixels, the image 20"),
    (box(image=9), "refused", "no image has the id 9"),
    (box(image="one"), "refused", "no image has the id one"),
    (box(image=True), "refused", "no image has the id True"),
    (box(image=[1]), "refused", "no image has the id [1]"),
    ("text", "refused", "it has no `image_id`"),
    ({"id": 4}, "refused", "it has no `image_id`"),
]


@pytest.mark.parametrize(("annotation", "outcome", "reason"), LEFT_OUT, ids=[case[2][:30] for case in LEFT_OUT])
def test_annotation_that_is_left_out_is_told_with_place_and_reason(
    tmp_path: Path, annotation: Any, outcome: str, reason: str
) -> None:
    ledger = scan(tmp_path, [annotation]).ledger
    (entry,) = ledger.entries
    assert (entry.place, entry.outcome, ledger.rows_read, ledger.rows_used) == ("annotations[1]", outcome, 2, 1)
    assert reason in entry.reason
    assert str(entry).startswith(f"`{tmp_path / 'instances.json'}` annotations[1]: ")


@pytest.mark.parametrize(
    ("bbox", "is_doubted"),
    [([8, 6, 18, 14], True), ([12, 9, 19, 15], True), ([12, 3, 10, 8], False), ([1, 1, 19.5, 15.5], False)],
)
def test_a_box_that_may_be_corners_is_doubted_used_or_not(bbox: list[float], is_doubted: bool, tmp_path: Path) -> None:
    problems = scan(tmp_path, [box(bbox=bbox)]).ledger.entries
    assert ("corner-row" in [problem.kind for problem in problems]) == is_doubted


def test_crowds_are_no_fault_of_the_dataset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = make_coco(tmp_path, [box(), box(iscrowd=1)])
    assert scan_split(spec, "train", options=ScanOptions(strict=True)).ledger.rows_ignored == 1
    assert not caplog.records


def test_image_of_crowds_alone_is_no_background(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}, {"id": 5, "file_name": "c.png"}]
    result = scan_split(make_coco(tmp_path, [box(), box(image=2, iscrowd=1)], images=images), "train")
    assert [Path(path).name for path in result.index.paths] == ["a.png", "c.png"]
    assert (result.ledger.images_found, result.ledger.images_empty, result.ledger.images_unusable) == (1, 1, 1)


def test_category_ids_with_gaps_become_class_ids_in_their_order(tmp_path: Path) -> None:
    categories = [{"id": 90, "name": "owl"}, {"id": -1, "name": "bat"}, {"id": 17, "name": "dog"}]
    annotations = [box(category=c["id"], bbox=[c["id"] % 7, 1, 5, 5]) for c in categories]
    spec = make_coco(tmp_path, annotations, categories=categories)
    assert spec.names == ("bat", "dog", "owl")
    assert scan_split(spec, "train").index.class_ids.tolist() == [2, 0, 1]


def test_names_of_the_yaml_decide_the_class_ids(tmp_path: Path) -> None:
    spec = make_coco(tmp_path, [box(), box(category=17)], yaml="names: [owl, dog, cat]")
    assert scan_split(spec, "train").index.class_ids.tolist() == [2, 1]


def test_categories_of_one_name_are_one_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    categories = [*CATEGORIES, {"id": 20, "name": "cat"}]
    spec = make_coco(tmp_path, [box(category=20), box(category=17)], categories=categories)
    assert spec.names == ("cat", "dog")
    assert scan_split(spec, "train").index.class_ids.tolist() == [0, 1]
    assert "several categories are called `cat`" in caplog.text


@pytest.mark.parametrize(
    ("category", "yaml", "message"),
    [
        (4, "", r"the classes `4` are not among the 2 classes of .*\n.*category id 4 is not among the 2 categories"),
        ([], "", "the classes `\\[\\]` are not among"),
        (17, "names: [cat]", "the classes `dog` are not among the 1 class .*\n.*category `dog` is not among"),
    ],
)
def test_unknown_category_stops_the_scan_unless_all_count_as_one(
    tmp_path: Path, category: Any, yaml: str, message: str
) -> None:
    spec = make_coco(tmp_path, [box(), box(category=category)], yaml=yaml)
    with pytest.raises(DataError, match=message):
        scan_split(spec, "train")
    spec = make_coco(tmp_path, [box(), box(category=17, bbox=[0, 0, 4, 4])], yaml="names: [cat]")
    assert scan_split(spec, "train", options=ScanOptions(single_cls=True)).index.class_ids.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("size", "expected", "note"),
    [
        (SIZE, [2, 3, 10, 8], None),
        ({}, [2, 3, 10, 8], None),
        ({"width": 0, "height": 0}, [2, 3, 10, 8], None),
        ({"width": "20", "height": 16}, [2, 3, 10, 8], None),
        ({"width": 40, "height": 32}, [1, 1.5, 5, 4], "the file says 40 x 32 pixels, the image has 20 x 16: its box"),
        ({"width": 100, "height": 81}, [0.4, 0.5926, 2, 1.5802], "its boxes were scaled"),
        ({"width": 16, "height": 20}, None, "16 x 20 pixels, the image has 20 x 16, with another aspect ratio"),
    ],
)
def test_boxes_follow_an_image_that_has_another_size(
    tmp_path: Path, size: dict[str, Any], expected: list[float] | None, note: str | None
) -> None:
    images = [{"id": 1, "file_name": "a.png", **size}, {"id": 2, "file_name": "b.png", **SIZE}]
    spec = make_coco(tmp_path, [box(image=2), box()], images=images)
    result = scan_split(spec, "train", options=OPTIONS)
    boxes = corners_px(scan_split(spec, "train", options=OPTIONS))
    if expected is None:
        assert len(result.index) == 1 and result.ledger.rows_refused == 1
    else:
        first = result.index.boxes[0].astype(float) * [20, 16, 20, 16]
        assert np.round([*(first[:2] - first[2:] / 2), *first[2:]], 4).tolist() == expected
        assert boxes == [[2, 3, 10, 8]]
    told = [entry for entry in result.ledger.entries if entry.outcome in ("note", "refused")]
    assert [note is not None and note in entry.reason for entry in told] == [True] * (note is not None)


def test_polygon_of_one_part_is_kept(tmp_path: Path) -> None:
    points = [[5, 5, 9, 5, 9, 9.5]]
    result = scan(tmp_path, [box(bbox=[5, 5, 4, 4.5], segmentation=points), box(segmentation=points * 2)])
    polygon = result.index.polygon_of(1)
    assert polygon is not None
    assert (polygon * [20, 16]).reshape(-1).tolist() == pytest.approx(points[0])
    assert result.index.polygon_of(2) is None


@pytest.mark.parametrize(
    ("polygon", "is_kept"),
    [
        ([0, 0, 0, 0, 0, 0], False),  # where there is none
        ([15, 12, 19, 12, 19, 15], False),
        ([2, 3, 4, 3, 4, 11], False),
        ([2, 3, 11.5, 3, 11.5, 11], True),
        ([-9, 3, 12, 3, 12, 11], True),  # clipped
    ],
)
def test_polygon_that_lies_elsewhere_than_its_box_is_not_used(
    polygon: list[float], is_kept: bool, tmp_path: Path
) -> None:
    bbox = [2, 3, 10, 8] if polygon[0] >= 0 else [-9, 3, 21, 8]
    result = scan(tmp_path, [box(bbox=bbox, segmentation=[polygon])])
    assert corners_px(result) == [[max(bbox[0], 0), 3, 10 if polygon[0] >= 0 else 12, 8]]
    assert (result.index.polygon_of(1) is not None) == is_kept
    assert ("stray-polygon" in [entry.kind for entry in result.ledger.entries]) != is_kept


def test_images_are_sorted_and_each_is_used_once(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": name} for i, name in enumerate(["b.png", "a.png", "./b.png"])]
    result = scan_split(make_coco(tmp_path, [box(image=2), box(image=0, bbox=[1, 1, 3, 3])], images=images), "train")
    assert [Path(path).name for path in result.index.paths] == ["a.png", "b.png"]
    assert result.index.offsets.tolist() == [0, 0, 2]


def test_image_that_cannot_be_read_takes_its_annotations_with_it(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "none/b.png"}]
    ledger = scan_split(make_coco(tmp_path, [box(), box(image=2), box(image=2)], images=images), "train").ledger
    assert (ledger.images_unusable, ledger.rows_refused, ledger.rows_used) == (1, 2, 1)
    assert "2 rows of an image that cannot be used" in ledger.of("refused")[0].reason


WRONG: list[tuple[str, dict[str, Any] | str | bytes, str]] = [
    ("text", "hello", "is not valid JSON: Expecting value"),
    ("no object", "[1]", r"has no list `images`, `annotations`, `categories`; found \[1\]"),
    ("no list", {"images": {}, "annotations": [], "categories": []}, "has no list `images`; found the keys images, a"),
    ("deep", "[" * 100000, "nested too deeply|not valid JSON"),
    ("long number", '{"images": ' + "9" * 5000 + "}", "not valid JSON|has no list"),
    ("bytes", b"\xff\xfe{}", "not UTF-8 text: byte 0"),
    ("image", {"images": [7]}, r"images\[0\]: 7 is not an image"),
    ("id", {"images": [{"id": 1.5, "file_name": "a"}]}, r"images\[0\]: the id 1\.5 is neither"),
    ("name", {"images": [{"id": 1, "file_name": ""}]}, r"images\[0\]: `file_name` is , not the name"),
    ("nul", {"images": [{"id": 1, "file_name": "a\0"}]}, r"`file_name` is a\\x00, not the name"),
    ("half a character", {"images": [{"id": 1, "file_name": "\ud800"}]}, r"`file_name` is \\ud800, which is not valid"),
    (
        "twice",
        {"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]},
        r"images\[1\]: the id 1 is given",
    ),
    ("no images", {"images": []}, "lists no images"),
    ("no categories", {"categories": []}, "has no categories"),
    ("category", {"categories": [7]}, r"categories\[0\]: the id None is not a whole number"),
    ("category name", {"categories": [{"id": 1, "name": " "}]}, r"categories\[0\]: the name   is not text"),
    ("category twice", {"categories": [CATEGORIES[0]] * 2}, r"categories\[1\]: the id 3 is given twice"),
]


@pytest.mark.parametrize("whole_bytes", [coco_file.WHOLE_BYTES, -1], ids=["whole", "in pieces"])
@pytest.mark.parametrize(("content", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_file_that_is_no_coco_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, message: str, whole_bytes: int
) -> None:
    monkeypatch.setattr(coco_file, "WHOLE_BYTES", whole_bytes)
    make_coco(tmp_path, [box()])
    path = tmp_path / "instances.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        scan_split(load_dataset_spec(tmp_path / "data.yaml"), "train")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("format: cocoa\ntrain: a\nval: a", "`format` is 'cocoa'\nhint: known are yolo, coco"),
        ("format: coco\ntrain: a\nval: a", "`train` is 'a'\nhint: a split of the format coco has images, annotations"),
        ("format: coco\ntrain: {images: a}\nval: a", "`train` is .*\nhint: a split of the format coco has"),
        ("train: {images: a, annotations: b}\nval: a\nnames: [a]", "`train` has several paths\nhint: say which"),
        ("format: coco\ntrain: {images: a, annotations: [b]}\nval: a", "`train` is "),
        ("format: coco\ntrain: {images: [a, b], annotations: c}\nval: a", "`train` has 2 folders of images"),
        ("format: voc\ntrain: {images: [a, b], annotations: c, list: d}\nval: a", "`train` has 2 folders of images"),
        ('format: coco\ntrain: {images: a, annotations: "a\\tb"}\nval: a', "`train` is 'a.*with a control character"),
        ("format: coco\ntrain: {images: a, annotations: 'http://a/b'}\nval: a", "the address `http://a/b`"),
        ("format: coco\ntrain: {images: a, annotations: no.json}\nval: {images: a, annotations: no.json}", "no.json`"),
    ],
)  # fmt: skip
def test_yaml_that_describes_no_coco_files_is_an_error(tmp_path: Path, yaml: str, message: str) -> None:
    (tmp_path / "data.yaml").write_text(yaml)
    with pytest.raises(DataError, match=message):
        load_dataset_spec(tmp_path / "data.yaml")


def test_change_of_the_file_makes_the_scan_again(tmp_path: Path) -> None:
    spec, cache = make_coco(tmp_path / "data", [box()]), tmp_path / "cache"
    before = tree_digest(tmp_path / "data")
    assert [scan_split(spec, "train", cache_folder=cache).from_cache for _ in range(2)] == [False, True]
    assert tree_digest(tmp_path / "data") == before
    renamed = make_coco(tmp_path / "data", [box()], yaml="names: [dog, cat]")
    assert scan_split(renamed, "train", cache_folder=cache).index.class_ids.tolist() == [1]
    spec = make_coco(tmp_path / "data", [box(), box(bbox=[1, 1, 5, 5])])
    again = scan_split(spec, "train", cache_folder=cache)
    assert (again.from_cache, len(again.index.class_ids)) == (False, 2)


def test_edit_that_keeps_the_size_and_sets_the_time_back_is_noticed(tmp_path: Path) -> None:
    spec, cache = make_coco(tmp_path / "data", [box()]), tmp_path / "cache"
    path = tmp_path / "data" / "instances.json"
    scan_split(spec, "train", cache_folder=cache)
    status = path.stat()
    path.write_text(path.read_text().replace("[2, 3, 10, 8]", "[2, 3, 10, 9]"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = scan_split(spec, "train", cache_folder=cache)
    assert not again.from_cache
    assert again.index.boxes[0, 3] == np.float32(9 / 16)


@pytest.mark.parametrize("workers", [0, 3])
def test_threads_change_nothing(tmp_path: Path, workers: int) -> None:
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(40)]
    annotations = [box(image=i % 40, bbox=[i % 9, i % 7, 3, 3]) for i in range(120)]
    spec = make_coco(tmp_path, annotations, images=images)
    result = scan_split(spec, "train", work=Work(workers))
    assert result.index.offsets.tolist() == list(range(0, 121, 3))
    assert result.ledger.rows_used == 120


def test_boxes_of_masks_are_those_of_pycocotools() -> None:
    from pycocotools import mask as oracle

    rng = np.random.Generator(np.random.Philox(key=5))
    for case in range(300):
        height, width = rng.integers(1, 40, 2).tolist()
        drawn = rng.random((height, width)) < rng.random() ** 3
        packed = oracle.encode(np.asfortranarray(drawn, np.uint8))
        text = {"size": packed["size"], "counts": packed["counts"].decode()}
        flat = drawn.reshape(-1, order="F")
        changes = np.flatnonzero(np.diff(np.concatenate([[False], flat]))).tolist()
        counts = np.diff([0, *changes, height * width]).tolist()
        for mask in (text, {"size": [height, width], "counts": counts}):
            if not drawn.any():
                with pytest.raises(RefusedRow, match="the mask is empty"):
                    box_of_mask(mask)
                continue
            (x1, y1, x2, y2), size = box_of_mask(mask)
            assert [x1, y1, x2 - x1, y2 - y1] == oracle.toBbox(packed).tolist(), case
            assert size == (height, width)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        ({"size": [2], "counts": [4]}, "`size` of two whole numbers"),
        ({"size": [2, -2], "counts": [4]}, "`size` of two whole numbers"),
        ({"size": [1 << 20, 1 << 20], "counts": [4]}, "more than the limit"),
        ({"size": [2, 2]}, "has no `counts`"),
        ({"size": [2, 2], "counts": [1, -1, 4]}, "has no `counts`"),
        ({"size": [2, 2], "counts": [1, 1.5]}, "has no `counts`"),
        ({"size": [2, 2], "counts": [2, 3]}, "do not add up to its 2 x 2 pixels"),
        ({"size": [2, 2], "counts": ""}, "do not add up"),
        ({"size": [2, 2], "counts": "é"}, "damaged"),
        ({"size": [2, 2], "counts": " "}, "damaged"),
        ({"size": [2, 2], "counts": "P"}, "damaged"),
        ({"size": [2, 2], "counts": "PPPPPPPPPPPPPPPPPPPPPPPPPPPPPPP0"}, "damaged"),
        ({"size": [2, 2], "counts": "oooooooo"}, "damaged"),
        ({"size": [2, 2], "counts": "N6"}, "do not add up"),
    ],
)
def test_mask_that_is_none_is_refused(mask: Any, reason: str) -> None:
    with pytest.raises(RefusedRow, match=reason):
        box_of_mask(mask)


def test_very_large_file_gives_the_same_from_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.5, 1.0, 9.0]]
    labels = [box(bbox=[number, 1, 2, 2], segmentation=points) for number in range(9)] + [box(iscrowd=1), box(image=9)]
    small = scan_split(make_coco(tmp_path / "small", labels), "train")
    monkeypatch.setattr(coco_file, "WHOLE_BYTES", -1)
    large = scan_split(make_coco(tmp_path / "large", labels), "train")
    for name in ("class_ids", "boxes", "polygon_points"):
        assert np.array_equal(getattr(small.index, name), getattr(large.index, name))
    assert (small.ledger.rows_used, small.ledger.summary()) == (9, large.ledger.summary())


def test_spaces_around_the_name_of_a_category_do_not_count(tmp_path: Path) -> None:
    categories = [{"id": 3, "name": "cat "}, {"id": 17, "name": "dog"}]
    spec = make_coco(tmp_path, [box(category=3)], categories=categories, yaml="names: [dog, cat]\n")
    assert scan_split(spec, "train").index.class_ids.tolist() == [1]
