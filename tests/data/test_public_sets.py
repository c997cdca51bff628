"""Descriptions of public datasets: each reads a mock-up of the layout that its archives unpack to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from coco_dataset import box
from small_dataset import pixels
from visdrone_dataset import row
from voc_dataset import document, thing

from onelook.data.dataset_layout import open_dataset
from onelook.data.formats import visdrone_file
from onelook.data.scan.index import scan_split
from onelook.data.scan.ledger import Ledger
from onelook.data.sets import PUBLIC_SETS, description_of
from onelook.files.yaml import load_yaml

Places = Mapping[str, Any]


def put_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pixels(len(str(path))))


def put_coco(
    path: Path, images: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    path.write_text(json.dumps({"images": images, "annotations": labels, "categories": categories}))


def coco(folder: Path, split: str, places: Places) -> None:
    put_image(folder / places["images"] / "000000000009.jpg")
    put_coco(folder / places["annotations"], [{"id": 9, "file_name": "000000000009.jpg"}], [box(9, 1)], ["person"])


def voc(folder: Path, split: str, places: Places) -> None:
    put_image(folder / places["images"] / f"{split}_9.jpg")
    for place, name, content in (
        (places["annotations"], f"{split}_9.xml", document(thing("person"))),
        (Path(places["list"]).parent, Path(places["list"]).name, f"{split}_9\n"),
    ):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / name).write_text(content)


def visdrone(folder: Path, split: str, places: Places) -> None:
    put_image(folder / places["images"] / "0000002_00005_d_0000014.jpg")
    (folder / places["annotations"]).mkdir()
    (folder / places["annotations"] / "0000002_00005_d_0000014.txt").write_text(row() + row(0, score=0) + row(11))


def objects365(folder: Path, split: str, places: Places) -> None:
    inside = "images/v2/patch16"
    put_image(folder / places["images"] / ("patch16" if split == "train" else inside) / "objects365_v2_9.jpg")
    images = [{"id": number, "file_name": f"{inside}/objects365_v2_{number}.jpg"} for number in (9, 908726)]
    names = [f"{name} " if name in ("Formula 1", "Table Tennis") else name for name in names_of("objects365")]
    put_coco(folder / places["annotations"], images, [box(9, 309), box(908726, 1)], names)


def lvis(folder: Path, split: str, places: Places) -> None:
    put_image(folder / "train2017/000000000009.jpg")
    images = [{"id": 9, "coco_url": "http://images.cocodataset.org/train2017/000000000009.jpg"}]
    put_coco(folder / places["annotations"], images, [box(9, 2)], ["aerosol_can", "air_conditioner"])


MOCK_UPS: dict[str, tuple[Callable[[Path, str, Places], None], int]] = {
    "coco": (coco, 80),
    "coco-val": (coco, 80),
    "voc2007": (voc, 20),
    "voc2012": (voc, 20),
    "visdrone": (visdrone, 10),
    "objects365": (objects365, 365),
    "lvis": (lvis, 2),
}


def names_of(name: str) -> list[str]:
    """The classes that the YAML gives."""
    return [str(one) for one in load_yaml(description_of(name)).get("names", [])]


def ledgers(name: str, folder: Path) -> Iterator[tuple[str, Ledger, list[int]]]:
    """Split, ledger and class ids of a mock-up of a dataset."""
    make, num_classes = MOCK_UPS[name]
    yaml = Path(shutil.copy(description_of(name), folder))
    for split, places in load_yaml(yaml).items():
        if split in ("train", "val", "test"):
            make(folder, split, places)
    spec = open_dataset(yaml)
    assert len(spec.names) == num_classes
    for split in spec.splits:
        scan = scan_split(spec, split)
        yield split, scan.ledger, scan.index.class_ids.tolist()


def test_every_description_is_named_and_every_name_described() -> None:
    assert {path.stem for path in description_of("coco").parent.glob("*.yaml")} == set(PUBLIC_SETS) == set(MOCK_UPS)


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_layout_of_a_public_set_is_read_and_accounted_for(name: str, tmp_path: Path) -> None:
    class_id = {"visdrone": 3, "objects365": 308, "lvis": 1}.get(name, 14 if name.startswith("voc") else 0)
    for split, ledger, class_ids in ledgers(name, tmp_path):
        ledger.check()
        assert (ledger.images_found, ledger.rows_used, class_ids) == (1, 1, [class_id]), split
        left_out = {"visdrone": (0, 0, 2), "objects365": (1, 1, 0)}.get(name, (0, 0, 0))
        assert (ledger.images_unusable, ledger.rows_refused, ledger.rows_ignored) == left_out, split


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_classes_of_a_public_set_are_unique_and_plain(name: str) -> None:
    names = names_of(name)
    assert len(set(names)) == len(names)
    assert all(one == one.strip() and one.isascii() for one in names)


def test_classes_of_visdrone_are_those_of_its_format() -> None:
    assert tuple(names_of("visdrone")) == visdrone_file.NAMES
