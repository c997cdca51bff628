"""Datasets from one format to another, and runs on them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from command_runs import Home, run, state_of, texts
from option_runs import Options, covers, fit
from synthetic_index import make_index
from tool_exports import EXPORTS, labelled_images

from onelook.data.dataset_layout import open_dataset
from onelook.data.formats.writers import WRITERS
from onelook.data.scan.index import ScanResult, scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.errors import DataError, SettingsError
from onelook.recipes.convert_data import convert_data

FORMATS = ("yolo", "coco", "voc", "labelme", "cvat")
ARRAYS = ("sizes_hw", "offsets", "class_ids", "boxes", "polygon_offsets", "polygon_points")
POLYGON = "0 0.1 0.2 0.5 0.2 0.523456 0.812345\n"


def scans_of(data: Path) -> dict[str, ScanResult]:
    spec = open_dataset(data)
    return {split: scan_split(spec, split, options=ScanOptions(allow_unlabelled=True)) for split in spec.splits}


def assert_same(one: Path, other: Path, *, without: tuple[str, ...] = ()) -> None:
    """All splits of two datasets have the same names and, bit for bit, the same arrays."""
    ours, theirs = scans_of(one), scans_of(other)
    assert list(ours) == list(theirs)
    for split, scan in ours.items():
        assert [Path(path).name for path in scan.index.paths] == [Path(path).name for path in theirs[split].index.paths]
        for name in set(ARRAYS) - set(without):
            assert np.array_equal(getattr(scan.index, name), getattr(theirs[split].index, name)), (split, name)
    assert open_dataset(one).names == open_dataset(other).names


@covers("convert-data", "data", "to", "out")
@pytest.mark.parametrize(
    ("there", "back"),
    [  # yolo last: each format is written from a dataset of YOLO and read
        pytest.param(there, back, marks=() if back == "yolo" else pytest.mark.slow)
        for there in FORMATS
        for back in FORMATS
    ],
)
def test_labels_come_back_bit_for_bit(tiny_data: Path, tmp_path: Path, there: str, back: str) -> None:
    first = convert_data({"data": tiny_data, "to": there, "out": tmp_path / "there"})
    second = convert_data({"data": tmp_path / "there", "to": back, "out": tmp_path / "back"})
    assert first.path == tmp_path / "there/data.yaml"
    assert open_dataset(first.path).format == there and open_dataset(second.path).format == back
    assert_same(tiny_data, first.path)
    assert_same(tiny_data, second.path)
    assert not first.losses and not second.losses


@covers("convert-data", "split", "seed")
def test_export_of_a_tool_is_divided_on_its_way(tiny_data: Path, tmp_path: Path) -> None:
    export = EXPORTS["labelme"](labelled_images(tiny_data), tmp_path / "export")
    with pytest.raises(DataError, match="is not divided into train and val") as refused:
        convert_data({"data": export, "to": "yolo", "out": tmp_path / "no"})
    assert "--split 0.8" in str(refused.value.hint)
    val = []
    for seed in (0, 0, 1):
        out = tmp_path / f"out{len(val)}"
        given = {"data": export, "to": "yolo", "out": out, "split": 0.7, "seed": seed}
        path = convert_data(given).path
        scans = scans_of(path)
        assert sum(len(scan.index) for scan in scans.values()) == 20
        assert len(scans["val"].index) == pytest.approx(6, abs=1)
        val.append([Path(image).name for image in scans["val"].index.paths])
    assert val[0] == val[1] != val[2]
    with pytest.raises(DataError, match="already has splits: train, val, test"):
        convert_data({"data": tiny_data, "to": "voc", "out": tmp_path / "no", "split": 0.5})


@pytest.fixture
def with_polygon(home: Home) -> Path:
    """A dataset with polygons, background, and rows that cannot be used."""
    home.label(number=0).write_text(f"{POLYGON}1 0.5 0.5 0.25 0.3333333\n1 0.9 0.5 0.4 0.5\n0 nan 0 0 0\n")
    home.label(number=1).write_text("")
    home.label(number=2).unlink()
    home.image(number=3).write_bytes(b"broken")
    return home.yaml


@pytest.mark.parametrize("there", ["labelme", "cvat"])
def test_polygons_of_tools_come_back_and_their_boxes_but_for_the_last_digit(
    with_polygon: Path, tmp_path: Path, there: str
) -> None:
    result = convert_data({"data": with_polygon, "to": there, "out": tmp_path / "there"})
    assert_same(with_polygon, result.path, without=("boxes",))
    ours, theirs = scans_of(with_polygon), scans_of(result.path)
    assert all(np.abs(ours[split].index.boxes - theirs[split].index.boxes).max() < 1e-6 for split in ours)
    assert not result.losses


@pytest.mark.parametrize("there", ["yolo", "coco"])
def test_polygons_come_back_bit_for_bit(with_polygon: Path, tmp_path: Path, there: str) -> None:
    result = convert_data({"data": with_polygon, "to": there, "out": tmp_path / "there"})
    assert_same(with_polygon, result.path)
    assert not result.losses
    assert result.splits.scans["train"].ledger.rows_refused > 0
    ledger = json.loads((tmp_path / "there/labels.json").read_text())
    assert ledger["train"]["rows_clipped"] == 1 and ledger["train"]["images_unusable"] == 1
    assert scans_of(result.path)["train"].ledger.rows_clipped == 0


def test_voc_has_no_place_for_polygons_and_says_so(
    with_polygon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "voc"
    outcome = run(texts("convert-data", with_polygon, "--to", "voc", "--out", out), capsys)
    assert outcome.code == 0
    assert "the format cannot store polygons: 1\n" in outcome.out
    assert "train: 19 images, " in outcome.out and "train: left out: 1 image, " in outcome.out
    assert f"use it with --data {out / 'data.yaml'}\n" in outcome.out
    assert_same(with_polygon, out, without=("polygon_offsets", "polygon_points"))


def test_polygon_that_is_not_in_its_box_gives_way_to_it(with_polygon: Path, tmp_path: Path) -> None:
    coco = convert_data({"data": with_polygon, "to": "coco", "out": tmp_path / "coco"}).path
    path = tmp_path / "coco/annotations/instances_train.json"
    content = json.loads(path.read_text())
    (entry,) = [entry for entry in content["annotations"] if entry["segmentation"]]
    entry["bbox"][2] += 0.02
    path.write_text(json.dumps(content))
    result = convert_data({"data": coco, "to": "yolo", "out": tmp_path / "yolo"})
    assert result.losses == {"polygons that are not in the box of their object": 1}
    assert_same(coco, result.path, without=("polygon_offsets", "polygon_points"))


@pytest.mark.parametrize(("to", "lost"), [("yolo", 0), ("coco", 1), ("voc", 1), ("labelme", 1), ("cvat", 1)])
def test_boxes_that_readers_of_pixels_take_for_fractions_count_as_lost(to: str, lost: int) -> None:
    first_pixel, next_to_it = (0, 0.5 / 60, 0.5 / 40, 1 / 60, 1 / 40), (0, 1 / 60, 0.5 / 40, 2 / 60, 1 / 40)
    losses = WRITERS[to].losses(make_index([(40, 60)], [[first_pixel, next_to_it]]))
    assert {what: count for what, count in losses.items() if count} == (
        {"boxes within the first pixel of their image": 1} if lost else {}
    )


def test_coco_file_is_what_pycocotools_reads(with_polygon: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    convert_data({"data": with_polygon, "to": "coco", "out": tmp_path / "coco"})
    oracle = COCO(tmp_path / "coco/annotations/instances_train.json")
    index = scans_of(with_polygon)["train"].index
    assert sorted(oracle.getImgIds()) == list(range(1, len(index) + 1))
    for number in range(len(index)):
        boxes, own = oracle.loadAnns(oracle.getAnnIds(number + 1)), index.image_labels(number)
        xywh = np.array([entry["bbox"] for entry in boxes]).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        assert np.abs(xyxy - own.boxes).max(initial=0) < 0.01
        assert [entry["category_id"] - 1 for entry in boxes] == own.class_ids.tolist()
    polygon = next(entry for entry in oracle.loadAnns(oracle.getAnnIds(1)) if entry["segmentation"])
    assert oracle.annToMask(polygon).sum() == pytest.approx(polygon["area"], rel=0.03)


@covers("convert-data", "images")
@pytest.mark.parametrize("images", ["copy", "link"])
def test_images_are_copied_or_linked(tiny_data: Path, tmp_path: Path, images: str) -> None:
    convert_data({"data": tiny_data, "to": "voc", "out": tmp_path / "new", "images": images})
    new, old = tmp_path / "new/JPEGImages/train/007.jpg", tiny_data.parent / "images/train/007.jpg"
    assert new.read_bytes() == old.read_bytes()
    assert new.is_symlink() == (images == "link")
    if images == "link":
        assert new.readlink() == old


def test_images_of_voc_stand_in_one_folder_if_their_names_differ(home: Home, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for folder, suffix in (("images", ".jpg"), ("labels", ".txt")):
            for path in (home.data / folder / split).glob(f"*{suffix}"):
                path.rename(path.with_name(f"{split}{path.name}"))
    convert_data({"data": home.yaml, "to": "voc", "out": tmp_path / "new"})
    assert (tmp_path / "new/JPEGImages/train007.jpg").is_file()
    assert (tmp_path / "new/Annotations/val003.xml").is_file()
    assert_same(home.yaml, tmp_path / "new")
    (tmp_path / "new/data.yaml").unlink()
    assert open_dataset(tmp_path / "new").names == ("disc", "square")  # in alphabetical order, for want of another


def test_folders_and_suffixes_of_images_are_kept(home: Home, tmp_path: Path) -> None:
    for name in ("a/images/x", "b/x"):
        image = home.data / f"images/train/{name}.jpg"
        image.parent.mkdir(parents=True)
        shutil.copy(home.image(number=4), image)
    (home.data / "images/train/a/labels").mkdir()
    (home.data / "images/train/a/labels/x.txt").write_text(POLYGON)
    for to in FORMATS:
        result = convert_data({"data": home.yaml, "to": to, "out": tmp_path / to, "images": "link"})
        lost = {"voc": ("polygon_offsets", "polygon_points"), "labelme": ("boxes",), "cvat": ("boxes",)}.get(to, ())
        assert_same(home.yaml, result.path, without=lost)


@covers("convert-data", "strict")
def test_nothing_is_missing_from_a_strict_conversion(with_polygon: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot use 1 image "):
        convert_data({"data": with_polygon, "to": "coco", "out": tmp_path / "new", "strict": True})
    assert list(tmp_path.glob("*new*")) == []


@covers("convert-data", "allow_unlabelled")
def test_background_alone_is_converted_if_allowed(home: Home, tmp_path: Path) -> None:
    shutil.rmtree(home.data / "labels/train")
    given = {"data": home.yaml, "to": "coco", "out": tmp_path / "new"}
    with pytest.raises(DataError, match="have no label file"):
        convert_data(given)
    result = convert_data({**given, "allow_unlabelled": True})
    assert scans_of(result.path)["train"].ledger.images_empty == 20


def test_nothing_is_replaced_and_nothing_of_the_old_is_touched(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state_of(home.data)
    for out, message in (
        (home.data, "already exists"),
        (home.data / "images", "already exists"),
        (home.data / "images/train/new", "whose images are copied"),
        (home.file("taken", ""), "already exists"),
    ):
        outcome = run(texts("convert-data", home.yaml, "--to", "coco", "--out", out), capsys)
        assert (outcome.code, outcome.out) == (SettingsError.exit_code, "")
        assert message in outcome.err
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(SettingsError, match="already exists"):
        convert_data({"data": home.yaml, "to": "coco", "out": tmp_path / "nowhere"})
    assert state_of(home.data) == before


@pytest.mark.parametrize(
    ("to", "name", "message"),
    [
        ("yolo", "000.png", "images `000.jpg` and `000.png` of split `train` would have the same label file"),
        ("voc", "000.png", "would have the same label file"),
        pytest.param(
            "voc",
            "a\nb.jpg",
            "cannot be written in a list",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="names"),
        ),
    ],
)
def test_names_that_the_format_cannot_tell_apart_are_refused_and_nothing_is_left(
    home: Home, tmp_path: Path, to: str, name: str, message: str
) -> None:
    coco = convert_data({"data": home.yaml, "to": "coco", "out": tmp_path / "coco"}).path
    shutil.copy(home.image(number=5), tmp_path / "coco/images/train" / name)
    path = tmp_path / "coco/annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["images"].append({"id": 99, "file_name": name})
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        convert_data({"data": coco, "to": to, "out": tmp_path / "new"})
    assert list(tmp_path.glob("*new*")) == []
    convert_data({"data": coco, "to": "coco", "out": tmp_path / "again"})
    assert_same(coco, tmp_path / "again")


def test_class_name_that_xml_does_not_keep_is_refused(home: Home, tmp_path: Path) -> None:
    home.describe("train: images/train\nval: images/val\nnames: [' cat', '<&>\"é']\n")
    with pytest.raises(DataError, match="cannot be written in XML"):
        convert_data({"data": home.yaml, "to": "voc", "out": tmp_path / "voc"})
    assert_same(home.yaml, convert_data({"data": home.yaml, "to": "coco", "out": tmp_path / "coco"}).path)
    home.describe("train: images/train\nval: images/val\nnames: [a, '<&>\"é']\n")
    assert_same(home.yaml, convert_data({"data": home.yaml, "to": "voc", "out": tmp_path / "voc"}).path)


def test_image_that_vanishes_meanwhile_ends_the_conversion(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_data.parent, data)
    first = convert_data({"data": data, "to": "coco", "out": tmp_path / "new"})
    assert first.path.is_file()
    monkeypatch.setattr(shutil, "copyfile", lambda path, target: Path(f"{path}.gone").stat())
    with pytest.raises(DataError, match="is no longer there"):
        convert_data({"data": data, "to": "coco", "out": tmp_path / "other"})
    assert list(tmp_path.glob("*other*")) == []


@pytest.mark.parametrize("to", ["coco", pytest.param("voc", marks=pytest.mark.slow)])
def test_training_on_another_format_is_the_same_bit_for_bit(
    tiny_data: Path, tiny_model: Path, tmp_path: Path, to: str
) -> None:
    converted = convert_data({"data": tiny_data, "to": to, "out": tmp_path / "data", "images": "link"}).path
    options: Options = {
        "cfg": tiny_model, "epochs": 2, "batch_size": 4, "imgsz": 64, "workers": 0, "device": "cpu", "noplots": True,
        "noreport": True, "noautoanchor": True, "project": tmp_path / "runs",
    }  # fmt: skip
    runs = [fit(options, data=data) for data in (tiny_data, converted)]
    assert runs[0].bits == runs[1].bits
    assert runs[0].row == runs[1].row
