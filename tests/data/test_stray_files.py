"""Files of a split that would go unnoticed: images that are not read, labels without an image, nearly equal names."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from coco_dataset import CATEGORIES, box, make_coco
from small_dataset import GOOD_ROW, make_dataset, pixels
from tool_exports import EXPORTS, labelled_images

from onelook.data.dataset_layout import open_dataset
from onelook.data.dataset_spec import UNSPLIT, DatasetSpec, load_dataset_spec
from onelook.data.scan.index import ScanResult, scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.files.images import encode_image
from onelook.recipes.check import check

JPEG = encode_image(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8), ".jpg")
OTHER_ROW = "1 0.5 0.5 0.4 0.3\n"
LENIENT = ScanOptions(allow_unlabelled=True)


def told(result: ScanResult) -> list[tuple[str, str]]:
    """Kind and file name of what the ledger says about files."""
    return sorted((str(e.kind), Path(e.file).name) for e in result.ledger.of("note", "passed over") if e.kind)


def put_label(spec: DatasetSpec, name: str, text: str = GOOD_ROW) -> None:
    (spec.root / "labels/train" / name).write_text(text)


def test_jfif_is_read(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW}, images={"b.jfif": JPEG, "c.JPE": JPEG})
    put_label(spec, "b.txt")
    put_label(spec, "c.txt")
    result = scan_split(spec, "train")
    assert (len(result.index), result.ledger.entries) == (3, ())
    assert encode_image(np.zeros((20, 20, 3), np.uint8), ".jfif")[:2] == b"\xff\xd8"


def test_images_of_other_formats_are_counted_and_named(tmp_path: Path) -> None:
    foreign = {"b.HEIC": b"x", "c.gif": b"GIF89a", "d.avif": b"x", "e.jpg_large": JPEG, "f": JPEG, "g.dat": b"no image"}
    spec = make_dataset(tmp_path, {"a": GOOD_ROW}, images=foreign)
    put_label(spec, "b.txt")
    result = scan_split(spec, "train")
    assert told(result) == [("unread-image", name) for name in ("b.HEIC", "c.gif", "d.avif", "e.jpg_large", "f")]
    assert result.ledger.files_passed_over == 5
    assert "train: 5 other files not used: 5 of an unsupported format or suffix" in result.ledger.summary()


@pytest.mark.parametrize("beside", [False, True], ids=["in labels", "beside the images"])
def test_label_files_without_an_image_are_counted_and_named(tmp_path: Path, beside: bool) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW})
    folder = tmp_path / "labels/train"
    if beside:
        folder = tmp_path / "flat"
        shutil.copytree(tmp_path / "images/train", folder)
        shutil.copy(tmp_path / "labels/train/a.txt", folder)
        (tmp_path / "data.yaml").write_text("train: flat\nval: images/val\nnames: [cat, dog]\n")
        spec = load_dataset_spec(tmp_path / "data.yaml")
    (folder / "deep/er").mkdir(parents=True)
    for name, text in {"ghost.txt": GOOD_ROW, "empty.txt": "", "deep/er/x.txt": OTHER_ROW, "classes.txt": "cat\ndog\n",
                       "list.txt": "./images/a.png\n", "README.md": "0 0 0 0 0"}.items():  # fmt: skip
        (folder / name).write_text(text)
    assert told(scan_split(spec, "train")) == [("lost-label", name) for name in ("empty.txt", "ghost.txt", "x.txt")]


def test_labels_of_another_split_are_not_lost(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW, "b": GOOD_ROW})
    (tmp_path / "train.txt").write_text("./images/train/a.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: images/val\nnames: [cat, dog]\n")
    put_label(spec, "ghost.txt")
    assert told(scan_split(load_dataset_spec(tmp_path / "data.yaml"), "train")) == [("lost-label", "ghost.txt")]


@pytest.mark.skipif(os.path.exists(__file__.upper()), reason="needs names that differ in case alone")  # noqa: PTH110
@pytest.mark.parametrize("name", ["b.TXT", "B.txt", "B.Txt"])
def test_label_file_of_nearly_the_same_name_is_used_and_reported(tmp_path: Path, name: str) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW, "b": None})
    put_label(spec, name, OTHER_ROW)
    for _ in range(2):
        result = scan_split(spec, "train", cache_folder=tmp_path / "cache")
        assert result.index.class_ids.tolist() == [0, 1]
        assert (told(result), result.ledger.images_missing) == ([("near-label", name)], 0)
    fixed = check({"data": spec.path, "fix": str(tmp_path / "fixed")}).fixed
    assert fixed is not None and (fixed.parent / "labels/train/b.txt").read_text().startswith("1 ")


@pytest.mark.skipif(os.path.exists(__file__.upper()), reason="needs names that differ in case alone")  # noqa: PTH110
def test_image_whose_label_file_is_not_clear_is_refused_and_gets_no_empty_one(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW, "b": None})
    put_label(spec, "B.txt")
    put_label(spec, "b.TXT")
    result = scan_split(spec, "train", options=LENIENT)
    (entry,) = result.ledger.of("unusable image")
    assert "`B.txt`" in entry.reason and "`b.TXT`" in entry.reason
    fixed = check({"data": spec.path, "fix": str(tmp_path / "fixed")}).fixed
    assert fixed is not None and not list(fixed.parent.rglob("b.*"))


def test_images_that_share_a_label_file_are_reported_and_parted_in_a_copy(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW}, images={"a.jpg": JPEG})
    result = scan_split(spec, "train")
    assert told(result) == [("shared-label", "a.png")]
    fixed = check({"data": spec.path, "fix": str(tmp_path / "fixed")}).fixed
    assert fixed is not None
    assert sorted(path.name for path in (fixed.parent / "labels/train").iterdir()) == ["a-2.txt", "a.txt"]


def test_all_of_it_is_one_warning_of_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW}, images={"c.gif": b"GIF89a", "d.gif": b"GIF89a"})
    put_label(spec, "ghost.txt")
    with caplog.at_level(logging.WARNING):
        scan_split(spec, "train")
    (record,) = caplog.records
    assert "2 like `" in record.getMessage() and "c.gif`" in record.getMessage() and "ghost.txt" in record.getMessage()


def test_voc_annotations_without_an_image_are_named(tmp_path: Path) -> None:
    for folder in ("a/images", "b/images", "xml"):
        (tmp_path / folder).mkdir(parents=True)
    xml = "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"  # noqa: E501
    for number, name in enumerate(("a", "b")):
        (tmp_path / name / "images" / f"{name}.png").write_bytes(pixels(number))
        (tmp_path / "xml" / f"{name}.xml").write_text(xml)
    (tmp_path / "xml/ghost.xml").write_text(xml)
    splits = {"train": (tmp_path / "a/images",), "val": (tmp_path / "b/images",)}
    places = dict.fromkeys(splits, tmp_path / "xml")
    spec = DatasetSpec(tmp_path / "data.yaml", tmp_path, splits, ("cat",), format="voc", annotations=places)
    for split in splits:
        assert told(scan_split(spec, split)) == [("lost-label", "ghost.xml")]


def unlisted_of(path: Path, split: str) -> list[str]:
    options = ScanOptions(report_only=True)
    result = scan_split(open_dataset(path), split, options=options)
    assert result.ledger.files_passed_over == len(told(result))
    return [name for kind, name in told(result) if kind == "unlisted-image"]


@pytest.mark.parametrize("tool", ["coco", "csv", "labelstudio", "cvat"])
def test_images_that_the_one_annotation_file_does_not_list_are_counted(
    tool: str, tiny_data: Path, tmp_path: Path
) -> None:
    exported = EXPORTS[tool](labelled_images(tiny_data)[:3], tmp_path / "export")
    listed = open_dataset(exported)
    folder = Path(scan_split(listed, UNSPLIT).index.paths[0]).parent
    assert unlisted_of(exported, UNSPLIT) == []
    for name in ("new.jpg", "z.PNG", ".hidden.jpg", "notes.txt"):
        (folder / name).write_bytes(JPEG)
    assert unlisted_of(exported, UNSPLIT) == ["new.jpg", "z.PNG"]


def test_images_of_other_splits_in_the_same_folder_are_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_coco(tmp_path, [box()])
    (tmp_path / "images" / "b.png").write_bytes(pixels(7))
    (tmp_path / "images" / "left.png").write_bytes(pixels(8))
    other = {"images": [{"id": 1, "file_name": "b.png"}], "annotations": [box()], "categories": CATEGORIES}
    (tmp_path / "val.json").write_text(json.dumps(other))
    data = tmp_path / "data.yaml"
    data.write_text(data.read_text().replace("val: {images: images, annotations: instances.json}",
                                             "val: {images: images, annotations: val.json}"))  # fmt: skip
    assert unlisted_of(data, "train") == unlisted_of(data, "val") == ["left.png"]
    scan_split(load_dataset_spec(data), "train")
    assert "1 like `" in caplog.text and "`instances.json` does not list it" in caplog.text
    summary = scan_split(load_dataset_spec(data), "train").ledger.summary()
    assert "1 other file not used: 1 not listed" in summary
    (tmp_path / "val.json").write_text("{")
    assert unlisted_of(data, "train") == [], "who cannot know says nothing"
