"""Datasets that are known by their layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from coco_dataset import box, make_coco
from small_dataset import make_dataset
from visdrone_dataset import make_visdrone, row
from voc_dataset import document, make_voc, thing

from onelook.data.dataset_layout import open_dataset
from onelook.data.formats.visdrone_file import NAMES
from onelook.data.scan.index import scan_split
from onelook.errors import DataError


def coco_2017(folder: Path) -> Path:
    """`annotations/instances_train2017.json` with `train2017`."""
    make_coco(folder, [box()])
    (folder / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        shutil.copytree(folder / "images", folder / split)
        shutil.copy(folder / "instances.json", folder / "annotations" / f"instances_{split}.json")
        shutil.copy(folder / "instances.json", folder / "annotations" / f"captions_{split}.json")
    (folder / "data.yaml").unlink()
    (folder / "instances.json").unlink()
    shutil.rmtree(folder / "images")
    return folder


def coco_below_images(folder: Path) -> Path:
    coco_2017(folder)
    (folder / "images").mkdir()
    for split in ("train2017", "val2017"):
        (folder / split).rename(folder / "images" / split)
    return folder


def coco_one_folder(folder: Path) -> Path:
    coco_2017(folder)
    (folder / "train2017").rename(folder / "images")
    shutil.rmtree(folder / "val2017")
    return folder


def coco_by_file(folder: Path) -> Path:
    return coco_2017(folder) / "annotations" / "instances_train2017.json"


def coco_files_alone(folder: Path) -> Path:
    make_coco(folder, [box()])
    (folder / "data.yaml").unlink()
    shutil.copy(folder / "instances.json", folder / "bees_valid.json")
    return (folder / "instances.json").rename(folder / "bees_train.json")


def coco_by_split(folder: Path) -> Path:
    make_coco(folder, [box()])
    for split in ("train", "valid", "test"):
        shutil.copytree(folder / "images", folder / split)
        shutil.copy(folder / "instances.json", folder / split / "_annotations.coco.json")
    (folder / "data.yaml").unlink()
    return folder


def voc_devkit(folder: Path) -> Path:
    make_voc(folder, {"a": document(thing()), "b": document(thing("dog"))})
    (folder / "images").rename(folder / "JPEGImages")
    (folder / "xml").rename(folder / "Annotations")
    (folder / "ImageSets/Main").mkdir(parents=True)
    for split in ("train", "val", "cat_train"):
        (folder / f"ImageSets/Main/{split}.txt").write_text("a\n")
    (folder / "data.yaml").unlink()
    return folder


def visdrone_folder(folder: Path) -> Path:
    for split in ("train", "val"):
        make_visdrone(folder / f"VisDrone2019-DET-{split}", {"a": row() + row(11)})
        (folder / f"VisDrone2019-DET-{split}" / "data.yaml").unlink()
    return folder


def yolo_folder(folder: Path) -> Path:
    make_dataset(folder, {"a": "0 0.5 0.5 0.2 0.1\n"})
    return folder


LAYOUTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "COCO": (coco_2017, "coco"),
    "COCO, images": (coco_below_images, "coco"),
    "COCO, one folder": (coco_one_folder, "coco"),
    "COCO, file": (coco_by_file, "coco"),
    "COCO, files alone": (coco_files_alone, "coco"),
    "COCO, by split": (coco_by_split, "coco"),
    "VOC": (voc_devkit, "voc"),
    "VisDrone": (visdrone_folder, "visdrone"),
    "YOLO": (yolo_folder, "yolo"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_known(tmp_path: Path, layout: str) -> None:
    make, label_format = LAYOUTS[layout]
    spec = open_dataset(make(tmp_path))
    assert (spec.format, spec.names) == (label_format, NAMES if label_format == "visdrone" else ("cat", "dog"))
    for split in ("train", "val"):
        scan = scan_split(spec, split)
        assert [Path(path).name for path in scan.index.paths] == [
            "v.png" if spec.format == "yolo" and split == "val" else "a.png"
        ]
        assert scan.ledger.rows_used == 1
    assert ("test" in spec.splits) == (layout == "COCO, by split")


def no_yaml(folder: Path) -> Path:
    yolo_folder(folder)
    (folder / "data.yaml").unlink()
    return folder


def two_files(folder: Path) -> Path:
    coco_2017(folder)
    shutil.copy(folder / "annotations/instances_val2017.json", folder / "annotations/instances_val2014.json")
    return folder


def two_visdrones(folder: Path) -> Path:
    visdrone_folder(folder)
    shutil.copytree(folder / "VisDrone2019-DET-val", folder / "VisDrone2018-DET-val")
    return folder


def no_image_files(folder: Path) -> Path:
    coco_2017(folder)
    shutil.rmtree(folder / "train2017")
    return folder


def no_images(folder: Path) -> Path:
    coco_2017(folder)
    path = folder / "annotations/instances_train2017.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": []}))
    return folder


UNKNOWN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing": (
        no_yaml,
        r"no dataset in a known layout; looked for:\n  - data\.yaml, .*\n  - COCO: .*\n  - COCO.*\n  - Par",
    ),
    "two": (two_files, "several COCO files for the split `val`: `instances_val2014.json`, `instances_val2017.json`"),
    "two of VisDrone": (
        two_visdrones,
        "folders of VisDrone for the split `val`: `VisDrone2018-DET-val`, `VisDrone2019-DET-val`",
    ),
    "no image files": (
        no_image_files,
        "its first image, `a.png`, was not found; looked in .*/annotations`, .*/train2017`, ",
    ),
    "no images": (no_images, "instances_train2017.json` names no image"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_layout_that_is_not_known_is_an_error_that_tells_what_was_looked_for(tmp_path: Path, case: str) -> None:
    make, message = UNKNOWN[case]
    with pytest.raises(DataError, match=message):
        open_dataset(make(tmp_path))
