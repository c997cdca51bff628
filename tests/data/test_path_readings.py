"""Paths that were written on Windows, by a service or elsewhere: read as they are meant, and said."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from coco_dataset import box, make_coco
from small_dataset import GOOD_ROW, make_dataset
from voc_dataset import document, make_voc, thing

from onelook.data.dataset_spec import load_dataset_spec, split_images
from onelook.data.image_files import images_by_stem, images_in_list
from onelook.data.scan.index import scan_split
from onelook.errors import DataError
from onelook.recipes.check import check

NAMES = "names: [cat, dog]\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "data.yaml"
    path.write_text(text + NAMES)
    return path


ENTRIES = [
    ("backslashes", "train: images\\train\nval: images\\val\n"),
    ("with a point", "train: .\\images\\train\nval: .\\images\\val\n"),
    ("windows, absolute", "train: C:\\data\\images\\train\nval: C:\\data\\images\\val\n"),
    ("elsewhere, absolute", "train: /content/x/images/train\nval: /content/x/images/val\n"),
    ("name of the folder", "train: set/images/train\nval: set/images/val\n"),
    ("another name", "train: Fish-1/images/train\nval: Fish-1/images/val\n"),
    ("above", "train: ../images/train\nval: ../images/val\n"),
    ("far above", "train: ../../images/train\nval: ../../images/val\n"),
    ("path elsewhere", "path: ../datasets/x\ntrain: images/train\nval: images/val\n"),
    ("path of windows", "path: D:\\x\ntrain: images\\train\nval: images\\val\n"),
]


@pytest.mark.parametrize("text", [text for _, text in ENTRIES], ids=[name for name, _ in ENTRIES])
def test_entries_of_dataset_files_are_read_as_they_are_meant(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    make_dataset(folder, {"a": GOOD_ROW})
    caplog.clear()
    spec = load_dataset_spec(write(folder, text))
    assert split_images(spec, "train")[0] == [str(folder / "images/train/a.png")]
    assert "is not there" in caplog.text


def test_two_entries_never_become_one_folder(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"a": GOOD_ROW})
    spec = load_dataset_spec(write(tmp_path, "train: x/train/images\nval: x/val/images\n"))
    with pytest.raises(DataError, match="x/train/images`, which does not exist"):
        split_images(spec, "train")


def test_control_characters_in_entries_are_explained(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"a": GOOD_ROW})
    with pytest.raises(DataError, match=r"control character\nhint: in double quotes a backslash"):
        load_dataset_spec(write(tmp_path, 'train: "images\\train"\nval: images/val\n'))


LISTS = [
    ("backslashes", "images\\train\\a.png\nimages\\train\\b.png\n"),
    ("with a point", ".\\images\\train\\a.png\n.\\images\\train\\b.png\n"),
    ("one of two", "images\\train\\a.png\nimages/train/b.png\n"),
    ("windows, absolute", "C:\\data\\set\\images\\train\\a.png\nC:\\data\\set\\images\\train\\b.png\n"),
    ("elsewhere, absolute", "/content/set/images/train/a.png\n/content/set/images/train/b.png\n"),
    ("one folder more", "set/images/train/a.png\nset/images/train/b.png\n"),
]


@pytest.mark.parametrize("text", [text for _, text in LISTS], ids=[name for name, _ in LISTS])
def test_list_files_are_read_as_they_are_meant(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    make_dataset(tmp_path, {"a": GOOD_ROW, "b": GOOD_ROW})
    (tmp_path / "list.txt").write_text(text)
    with caplog.at_level(logging.INFO):
        found = images_in_list(tmp_path / "list.txt", tmp_path)
    assert found == [str(tmp_path / f"images/train/{x}.png") for x in "ab"]
    assert len(caplog.messages) == 1, "another reading than the literal one is told"


def test_files_of_one_name_in_two_folders_stay_two(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"a": GOOD_ROW})
    shutil.copy(tmp_path / "images/train/a.png", tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("/x/1/a.png\n/x/2/a.png\n")
    assert images_in_list(tmp_path / "list.txt", tmp_path) == ["/x/1/a.png", "/x/2/a.png"]


@pytest.mark.parametrize("line", ["a", "a.png", "a.jpg", "images/a.jpg", "images\\a", "./a.png 1", "a -1"])
def test_lists_of_voc_may_have_suffixes_and_folders(tmp_path: Path, line: str) -> None:
    make_voc(tmp_path, {"a": document(thing())})
    (tmp_path / "list.txt").write_text(f"{line}\ngone\n")
    found = images_by_stem(tmp_path / "list.txt", tmp_path / "images")
    assert found == [str(tmp_path / "images/a.png"), str(tmp_path / "images/gone.jpg")]


def test_lists_of_voc_may_tell_images_apart_by_their_suffix(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("a.jpg\na.png 1\nim/a.jpg\nim\\a.jpg 1\n")
    found = images_by_stem(tmp_path / "list.txt", tmp_path)
    assert [Path(image).name for image in found] == ["a.jpg", "a.png", "a.jpg", "a.jpg"]


@pytest.mark.parametrize("name", ["a.png", "images\\a.png", "x\\a.png", "some/where/a.png", "/content/x/a.png"])
def test_names_of_coco_are_read_as_they_are_meant(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    make_coco(tmp_path, [box()])
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": [{"id": 1, "file_name": name}]}))
    with caplog.at_level(logging.INFO):
        result = scan_split(load_dataset_spec(tmp_path / "data.yaml"), "train")
    assert result.index.paths == (str(tmp_path / "images/a.png"),)
    told = [message for message in caplog.messages if "backslashes" in message or "are not there" in message]
    assert bool(told) is (name != "a.png") and len(told) == len(set(told))
    assert all(message.startswith(f"`{path}`: ") for message in told)


@pytest.mark.parametrize(("of_image", "of_annotation"), [("1", 1), (1, "1"), ("1", "1"), (1, 1.0)])
def test_ids_of_coco_may_be_text_on_one_side(
    tmp_path: Path, of_image: object, of_annotation: object, caplog: pytest.LogCaptureFixture
) -> None:
    make_coco(tmp_path, [box()])
    path = tmp_path / "instances.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["id"] = of_image if image["id"] == 1 else str(image["id"])
    content["annotations"][0]["image_id"] = of_annotation
    for category in content["categories"]:
        category["id"] = str(category["id"])
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.INFO):
        ledger = scan_split(load_dataset_spec(tmp_path / "data.yaml"), "train").ledger
    assert (ledger.rows_used, ledger.rows_refused) == (1, 0)
    assert (f"`{path}`: 1 of 1 annotations give `image_id` as text" in caplog.text) is (of_annotation == "1")


def test_check_reports_the_rest_if_the_test_split_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_dataset(tmp_path, {"a": GOOD_ROW})
    path = write(tmp_path, "train: images/train\nval: images/val\ntest: ../test/images\n")
    with caplog.at_level(logging.INFO):
        result = check({"data": path, "near": -1})
    result.insist()
    assert set(result.scans) == {"train", "val"}
    (finding,) = [finding for finding in result.diagnosis.findings if finding.kind == "unread-split"]
    assert (finding.split, "which does not exist" in finding.detail) == ("test", True)


def test_check_refuses_if_a_split_for_training_is_missing(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"a": GOOD_ROW})
    result = check({"data": write(tmp_path, "train: images/train\nval: images/gone\n"), "near": -1})
    with pytest.raises(DataError, match="`val` names"):
        result.insist()
