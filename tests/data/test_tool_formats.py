"""What annotation tools export: one file or folder without splits, each object judged alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from small_dataset import pixels, tree_digest
from tool_exports import EXPORTS, labelled_images

from onelook.data.dataset_layout import open_dataset
from onelook.data.dataset_spec import UNSPLIT
from onelook.data.scan.index import ScanResult, scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.errors import DataError


def scanned(path: Path) -> ScanResult:
    return scan_split(open_dataset(path), UNSPLIT, options=ScanOptions(report_only=True))


@pytest.mark.parametrize("of_folder", [False, True])
@pytest.mark.parametrize("tool", EXPORTS)
def test_every_object_of_an_export_is_found(tiny_data: Path, tmp_path: Path, tool: str, of_folder: bool) -> None:
    images = labelled_images(tiny_data)
    path = EXPORTS[tool](images, tmp_path / "export")
    before = tree_digest(tmp_path)
    spec = open_dataset(tmp_path / "export" if of_folder else path)
    assert spec.names == ("disc", "square") and list(spec.splits) == [UNSPLIT] and spec.is_unsplit
    scan = scanned(path)
    assert [Path(image).name for image in scan.index.paths] == [Path(image[0]).name for image in images]
    assert scan.ledger.rows_read == scan.ledger.rows_used == sum(len(image[3]) for image in images)
    for number, (_, _, _, boxes) in enumerate(images):
        found = scan.index.image_labels(number)
        assert np.abs(found.boxes - np.array([box[1:] for box in boxes])).max() < 2e-3
        assert [spec.names[class_id] for class_id in found.class_ids.tolist()] == [box[0] for box in boxes]
    assert tree_digest(tmp_path) == before


def image_in(folder: Path, name: str = "a.png") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(pixels(0))


def labelme_of(*shapes: object) -> str:
    return json.dumps({"shapes": shapes, "imagePath": "a.png", "imageWidth": 20, "imageHeight": 16})


def shape(kind: str, *points: list[float], label: str = "cat", **more: object) -> dict[str, object]:
    return {"label": label, "points": points, "shape_type": kind, **more}


def tasks_of(*regions: object, name: str = "a.png", **more: object) -> str:
    return json.dumps([{"data": {"image": name}, "annotations": [{"result": regions}], **more}])


def region(kind: str = "rectanglelabels", **value: object) -> dict[str, object]:
    return {"type": kind, "original_width": 20, "original_height": 16, "value": {kind: ["cat"], **value}}


def cvat_of(inner: str, image: str = 'name="a.png" width="20" height="16"') -> str:
    return f"<annotations><image {image}>\n{inner}\n</image></annotations>"


HEAD = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
ROW = {"x": 10, "y": 25, "width": 50, "height": 50}
# file, its text, xyxy in pixels of the one object that is used
SHAPES: dict[str, tuple[str, str, tuple[float, float, float, float]]] = {
    "csv": ("a.csv", f"{HEAD}a.png,20,16,cat,2,4,12,12\n", (2, 4, 12, 12)),
    "csv of other words": ("a.csv", "image;label;x1;y1;x2;y2\r\na.png;cat;2;4;12;12\r\n", (2, 4, 12, 12)),
    "csv of an old Mac": ("a.csv", f"{HEAD}a.png,20,16,cat,2,4,12,12\n".replace("\n", "\r"), (2, 4, 12, 12)),
    "csv with a mark": ("a.csv", f"\ufeff{HEAD}a.png,20,16,cat,2,4,12,12", (2, 4, 12, 12)),
    "polygon of LabelMe": ("a.json", labelme_of(shape("polygon", [2, 4], [12, 4], [7, 12])), (2, 4, 12, 12)),
    "circle of LabelMe": ("a.json", labelme_of(shape("circle", [8, 8], [8, 12])), (4, 4, 12, 12)),
    "parts of LabelMe": (
        "a.json",
        labelme_of(
            shape("rectangle", [2, 4], [4, 6], group_id=1), shape("polygon", [9, 9], [12, 9], [9, 12], group_id=1)
        ),
        (2, 4, 12, 12),
    ),
    "rectangle of Label Studio": ("a.json", tasks_of(region(**ROW)), (2, 4, 12, 12)),
    "turned rectangle of Label Studio": (
        "a.json",
        tasks_of(region(x=60, y=25, width=50, height=25, rotation=90)),
        (8, 4, 12, 14),
    ),
    "ellipse of Label Studio": (
        "a.json",
        tasks_of(region("ellipselabels", x=50, y=50, radiusX=25, radiusY=25)),
        (5, 4, 15, 12),
    ),
    "polygon of Label Studio": (
        "a.json",
        tasks_of(region("polygonlabels", points=[[10, 25], [60, 25], [30, 75]])),
        (2, 4, 12, 12),
    ),
    "region with its label apart": (
        "a.json",
        tasks_of(
            {"id": "r", "type": "rectangle", "value": ROW},
            {"id": "r", "type": "labels", "value": {**ROW, "labels": ["cat"]}},
        ),
        (2, 4, 12, 12),
    ),
    "box of CVAT": ("a.xml", cvat_of('<box label="cat" xtl="2" ytl="4" xbr="12" ybr="12"/>'), (2, 4, 12, 12)),
    "turned box of CVAT": (
        "a.xml",
        cvat_of('<box label="cat" xtl="3" ytl="6" xbr="13" ybr="10" rotation="90"/>'),
        (6, 3, 10, 13),
    ),
    "polygon of CVAT": ("a.xml", cvat_of('<polygon label="cat" points="2,4;12,4;7.0,12"/>'), (2, 4, 12, 12)),
    "ellipse of CVAT": ("a.xml", cvat_of('<ellipse label="cat" cx="8" cy="8" rx="4" ry="2"/>'), (4, 6, 12, 10)),
    "mask of CVAT": (
        "a.xml",
        cvat_of('<mask label="cat" rle="3, 1" left="2" top="4" width="10" height="8"/>'),
        (2, 4, 12, 12),
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shape_of_a_tool_becomes_its_box(tmp_path: Path, case: str) -> None:
    name, text, box = SHAPES[case]
    image_in(tmp_path)
    (tmp_path / name).write_text(text)
    scan = scanned(tmp_path)
    assert open_dataset(tmp_path).names == ("cat",) and len(scan.index.class_ids) == 1
    assert scan.index.image_labels(0).boxes[0].tolist() == pytest.approx(box, abs=0.02)
    scan.ledger.check()


CSV, LABELME, TASKS, CVAT = "b.csv", "a.json", "b.json", "b.xml"
GOOD: dict[str, str] = {
    CSV: "a.png,20,16,cat,2,4,12,12\n",
    LABELME: "",
    TASKS: "",
    CVAT: '<box label="cat" xtl="2" ytl="4" xbr="12" ybr="12"/>\n',
}
REFUSED: dict[str, tuple[str, str, str]] = {
    "csv: no number": (CSV, f"{HEAD}{GOOD[CSV]}a.png,20,16,cat,2,x,12,12", "line 3.*`ymin` is `x`, not a number"),
    "csv: no class": (CSV, f"{HEAD}{GOOD[CSV]}a.png,20,16,,2,3,12,12", "line 3.*`class` is empty"),
    "csv: short": (CSV, f"{HEAD}{GOOD[CSV]}a.png,20,16,cat,2,3", "line 3.*`xmax` is ``, not a number"),
    "csv: no name": (CSV, f"{HEAD}{GOOD[CSV]},20,16,cat,2,3,4,5", "line 3.*`filename`: `` is not the name of a file"),
    "csv: turned": (CSV, f"{HEAD}{GOOD[CSV]}a.png,20,16,cat,12,3,4,5", "line 3.*a width or height is negative"),
    "csv: other size": (CSV, f"{HEAD}{GOOD[CSV]}a.png,99,16,cat,1,3,4,5", "line 3.*the file says 99 x 16 pixels"),
    "csv: fractions": (CSV, f"{HEAD}{GOOD[CSV]}a.png,20,16,cat,.1,.2,.6,1", "line 3.*are these fractions of"),
    "labelme: fractions": (
        LABELME, labelme_of(shape("rectangle", [2, 4], [12, 12]), shape("polygon", [0.1, 0.2], [0.9, 0.2], [0.5, 0.7])),
        r"shapes\[1\].*are these fractions of the image?",
    ),
    "cvat: fractions": (
        CVAT, cvat_of(f'{GOOD[CVAT]}<box label="cat" xtl="0.25" ytl="0" xbr="1.0" ybr="1.0"/>'),
        "line 3.*are these fractions of the image?",
    ),
    "labelme: a line": (
        LABELME, labelme_of(shape("rectangle", [2, 4], [12, 12]), shape("linestrip", [1, 1], [2, 2])),
        r"shapes\[1\].*a linestrip, which has no box",
    ),
    "labelme: points": (
        LABELME, labelme_of(shape("rectangle", [2, 4], [12, 12]), shape("rectangle", [1, 1])),
        r"shapes\[1\].*`points` is .*, not a list of 2 points or more",
    ),
    "labelme: no number": (
        LABELME, labelme_of(shape("rectangle", [2, 4], [12, 12]), shape("rectangle", [1, "x"], [2, 2])),  # type: ignore[list-item]
        r"shapes\[1\].*`y` is `x`, not a number",
    ),
    "labelme: no label": (
        LABELME, labelme_of(shape("rectangle", [2, 4], [12, 12]), shape("rectangle", [1, 1], [2, 2], label="")),
        r"shapes\[1\].*no `label`",
    ),
    "tasks: brush": (
        TASKS, tasks_of(region(**ROW), region("brushlabels", format="rle", rle=[1], labels=["cat"])),
        r"\[0\]\.annotations\[0\]\.result\[1\].*a brush mask, which is not read",
    ),
    "tasks: two labels": (
        TASKS, tasks_of(region(**ROW), region(**ROW, labels=["cat"]) | {"value": {**ROW, "labels": ["cat", "dog"]}}),
        r"result\[1\].*2 labels; a region has one",
    ),
    "tasks: choices": (
        TASKS, tasks_of(region(**ROW), {"type": "choices", "value": {"choices": ["day"]}}),
        r"result\[1\].*`choices` describes the image as a whole",
    ),
    "tasks: turned": (
        TASKS, tasks_of(region(**ROW), {"type": "rectanglelabels",
                                        "value": {**ROW, "rotation": 5, "rectanglelabels": ["cat"]}}),
        r"result\[1\].*turned by 5 degrees, and `original_width`",
    ),
    "tasks: turned image": (
        TASKS, tasks_of(region(**ROW), region(**ROW) | {"image_rotation": 90}),
        r"result\[1\].*the image was turned by 90 degrees",
    ),
    "cvat: polyline": (CVAT, cvat_of(f'{GOOD[CVAT]}<polyline label="cat" points="1,1;2,2"/>'), "line 3.*a line, which"),
    "cvat: no number": (
        CVAT, cvat_of(f'{GOOD[CVAT]}<box label="cat" xtl="a" ytl="4" xbr="12" ybr="12"/>'),
        "line 3.*`xtl` is `a`, not a number",
    ),
    "cvat: points": (
        CVAT, cvat_of(f'{GOOD[CVAT]}<polygon label="cat" points="1,1;2;3,3"/>'), "line 3.*`points` is `1,1;2;3,3`",
    ),
    "cvat: tag": (CVAT, cvat_of(f'{GOOD[CVAT]}<tag label="cat"/>'), "line 3.*a tag, which describes the image"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_object_that_cannot_be_used_is_told_with_its_place(tmp_path: Path, case: str) -> None:
    name, text, reason = REFUSED[case]
    image_in(tmp_path)
    (tmp_path / name).write_text(text)
    scan = scanned(tmp_path)
    scan.ledger.check()
    assert len(scan.index.class_ids) == 1
    (entry,) = (entry for entry in scan.ledger.entries if entry.outcome != "note")
    assert re.search(reason, str(entry)), str(entry)
    assert scan.ledger.rows_read == 2


def test_objects_of_an_image_without_a_name_are_told_after_it(tmp_path: Path) -> None:
    image_in(tmp_path)
    nameless = f'<image width="20" height="16">\n{2 * GOOD[CVAT]}</image></annotations>'
    (tmp_path / CVAT).write_text(cvat_of(GOOD[CVAT]).replace("</annotations>", nameless))
    scan = scanned(tmp_path)
    scan.ledger.check()
    assert len(scan.index.class_ids) == 1
    told = [str(entry) for entry in scan.ledger.entries if entry.outcome != "note"]
    expected = ["line 4.*`None` is not the name of a file", "line 5.*its image has no name", "line 6.*has no name"]
    assert [bool(re.search(*pair)) for pair in zip(expected, told, strict=True)] == [True] * 3, told


DEEP = "[" * 200_000
WRONG: dict[str, tuple[str, str, str]] = {
    "entities": (
        "b.xml", '<!DOCTYPE a [<!ENTITY b "cc">]><annotations><image name="&b;"/></annotations>', "has a document type",
    ),
    "deep XML": ("b.xml", f"<annotations>{'<a>' * 40}{'</a>' * 40}</annotations>", "nested deeper than 32"),
    "video": ("b.xml", "<annotations><track id='0' label='cat'/></annotations>", "track of a video"),
    "deep JSON": ("b.json", f'[{{"data": {{"image": "a.png"}}, "x": {DEEP}', "nested too deeply|not valid JSON"),
    "no JSON": ("b.json", "[{]", "is not valid JSON"),
    "no UTF-8": ("b.csv", "filename,class,xmin,ymin,xmax,ymax\né", "is not UTF-8 text: byte"),
    "lacking column": ("b.csv", "filename,class,xmin\n", "is not a label file of a known format"),
    "image elsewhere": ("b.csv", f"{HEAD}no.png,20,16,cat,2,4,12,12\n", "its first image, `no.png`, was not found"),
    "no label is usable": ("b.json", tasks_of(region(**ROW) | {"value": ROW}), r"a class:\n.*\[0\].*no labels"),
    "no image is named": ("b.json", '[{"image_id": 1, "bbox": [1, 2, 3, 4]}]', r"names no image:\n.*\[0\]: it"),
    "no task": ("b.json", "[1]", r"names no image:\n.*\[0\]: not a task: not a JSON object"),
    "class with an end of line": ("b.csv", f'{HEAD}a.png,20,16,"c\nat",2,4,9,9\n', "hold control characters"),
    "no image in a csv": ("b.csv", f"{HEAD}a\0.png,20,16,cat,2,4,9,9\n", r"names no image:\n.* line 2: `filen"),
    "one image": ("a.json", labelme_of(shape("rectangle", [2, 4], [12, 12])), "holds the labels of one image"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_file_that_cannot_be_used_is_an_error_that_says_why(tmp_path: Path, case: str) -> None:
    name, text, reason = WRONG[case]
    image_in(tmp_path)
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=reason):
        open_dataset(tmp_path / name)


def test_name_that_leaves_the_folder_is_only_ever_read_as_an_image(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "data"
    image_in(folder)
    (folder / "b.csv").write_text(f"{HEAD}{GOOD[CSV]}../secret.txt,20,16,cat,2,4,12,12\n")
    ledger = scanned(folder).ledger
    assert ledger.images_listed == 2 and ledger.images_unusable == 1
    assert "secret" not in str(ledger.of("unusable image")[0]).replace("secret.txt", "")


def test_annotations_of_others_and_predictions_do_not_count(tmp_path: Path) -> None:
    image_in(tmp_path)
    other = {"result": [region(x=1, y=1, width=5, height=5)]}
    task = {"data": {"image": "s3://b/a.png"}, "predictions": [other],
            "annotations": [{**other, "was_cancelled": True}, {"result": [region(**ROW)]}, other]}  # fmt: skip
    (tmp_path / "b.json").write_text(json.dumps([task]))
    scan = scanned(tmp_path)
    assert scan.index.image_labels(0).boxes.round(3).tolist() == [[2, 4, 12, 12]]
    assert scan.ledger.rows_read == 3 and scan.ledger.rows_ignored == 2


def test_several_files_of_labels_are_not_guessed_among(tmp_path: Path) -> None:
    image_in(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(HEAD + GOOD[CSV])
    with pytest.raises(DataError, match=r"has 2 files of labels: `a\.csv`, `b\.csv`"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("tool", ["labelimg", "labelme", "csv", "labelstudio", "cvat"])
def test_folders_called_train_and_valid_are_the_splits(tiny_data: Path, tmp_path: Path, tool: str) -> None:
    for split, name in (("train", "train"), ("val", "valid")):
        EXPORTS[tool](labelled_images(tiny_data, split), tmp_path / name)
    spec = open_dataset(tmp_path)
    assert {split: len(scan_split(spec, split).index) for split in spec.splits} == {"train": 20, "val": 6}


def quoted(text: str) -> str:
    return json.dumps(text)[1:-1]


# file, its text for an image of a name
NAMED = {
    "csv": ("a.csv", lambda name: f"{HEAD}{name},20,16,cat,2,4,12,12\n"),
    "cvat": (
        "a.xml",
        lambda name: cvat_of('<box label="cat" xtl="2" ytl="4" xbr="12" ybr="12"/>').replace("a.png", name),
    ),
    "labelme": ("a.json", lambda name: labelme_of(shape("rectangle", [2, 4], [12, 12])).replace("a.png", quoted(name))),
    "labelstudio": ("a.json", lambda name: tasks_of(region(**ROW), name=name)),
}


@pytest.mark.parametrize("name", ["C:\\me\\bees\\a.png", "C:/me/a.png", "\\\\nas\\bees\\a.png", "bees\\a.png"])
@pytest.mark.parametrize("tool", NAMED)
def test_images_that_were_named_on_windows_are_found_beside_the_labels(tmp_path: Path, tool: str, name: str) -> None:
    file, text_of = NAMED[tool]
    image_in(tmp_path)
    (tmp_path / file).write_text(text_of(name))
    scan = scanned(tmp_path if tool == "labelme" else tmp_path / file)
    assert (scan.index.paths, scan.ledger.rows_used) == ((str(tmp_path / "a.png"),), 1)


def test_listed_images_of_labelme_may_lie_in_several_folders(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    for name in ("a", "b"):
        image_in(tmp_path / name, f"{name}.png")
        (tmp_path / f"json/{name}.json").write_text(labelme_of(shape("rectangle", [2, 4], [12, 12])))
    (tmp_path / "list.txt").write_text("a/a.png\nb/b.png\n")
    split = "{images: [a, b], annotations: json, list: list.txt}"
    (tmp_path / "data.yaml").write_text(f"format: labelme\ntrain: {split}\nval: {split}\nnames: [cat]\n")
    assert scan_split(open_dataset(tmp_path / "data.yaml"), "train").ledger.rows_used == 2
