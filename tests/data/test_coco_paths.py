"""Where the images are that a COCO file names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from coco_dataset import box, make_coco
from small_dataset import pixels

from onelook.data.dataset_spec import load_dataset_spec
from onelook.data.formats.coco_paths import image_paths
from onelook.data.scan.index import scan_split

MOVED = [
    ("as it is", ["images/v1/p0/"], ["images/v1/p0/"], "images/v1/p0/"),
    ("without one", ["images/v1/p0/"], ["v1/p0/"], "v1/p0/"),
    ("without two", ["images/v1/p0/"], ["p0/"], "p0/"),
    ("the longest counts", ["images/v1/p0/"], ["v1/p0/", "p0/"], "v1/p0/"),
    ("of another machine", ["/nowhere/of/mine/p0/"], ["p0/"], "p0/"),
    ("never the name alone", ["v1/p0/"], [""], "v1/p0/"),
    ("two stay two", ["v1/p0/", "v2/p0/"], ["p0/"], "v1/p0/"),
    ("nor become one that is there", ["v1/p0/", "p0/"], ["p0/"], "v1/p0/"),
    ("nothing above", ["../v1/p0/"], ["v1/p0/"], "../v1/p0/"),
]


@pytest.mark.parametrize(("said", "there", "read"), [case[1:] for case in MOVED], ids=[case[0] for case in MOVED])
def test_folders_in_names_of_images_may_be_missing_on_disk(
    tmp_path: Path, said: list[str], there: list[str], read: str
) -> None:
    for folder in there:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    first = image_paths(str(tmp_path), [f"{folder}1.jpg" for folder in said])[0]
    assert first == os.path.normpath(tmp_path / f"{read}1.jpg")


def test_images_are_found_by_their_address_in_coco(tmp_path: Path) -> None:
    address = "http://images.cocodataset.org/train2017/000000000007.jpg"
    make_coco(tmp_path, [box()])
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": [{"id": 1, "coco_url": address}]}))
    (tmp_path / "images/train2017").mkdir()
    (tmp_path / "images/a.png").rename(tmp_path / "images/train2017/000000000007.jpg")
    result = scan_split(load_dataset_spec(tmp_path / "data.yaml"), "train")
    assert result.index.paths == (str(tmp_path / "images/train2017/000000000007.jpg"),)
    assert result.ledger.rows_used == 1


def test_images_may_lie_anywhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").write_bytes(pixels(8))
    images = [{"id": 1, "file_name": "../elsewhere/x.png"}, {"id": 2, "file_name": str(tmp_path / "elsewhere/x.png")}]
    spec = make_coco(tmp_path / "data", [box(), box(image=2, bbox=[1, 1, 4, 4])], images=images)
    result = scan_split(spec, "train")
    assert result.ledger.images_listed == 2
    assert result.index.paths == (str(tmp_path / "elsewhere" / "x.png"),)
