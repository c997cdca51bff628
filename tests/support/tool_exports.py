"""Exports of annotation tools, written from a dataset by the documentation of each tool: one path for `--data`."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from onelook.data.dataset_spec import load_dataset_spec
from onelook.data.scan.index import scan_split

Box = tuple[str, float, float, float, float]
Image = tuple[str, int, int, list[Box]]


def labelled_images(data: Path, split: str = "train") -> list[Image]:
    """Name, width, height and boxes (class, xyxy in pixels) of the images of a split, by name."""
    spec = load_dataset_spec(data)
    index = scan_split(spec, split).index
    images: list[Image] = []
    for number, path in enumerate(index.paths):
        labels, (height, width) = index.image_labels(number), index.sizes_hw[number].tolist()
        boxes = [
            (spec.names[class_id], *(round(side, 3) for side in box))
            for class_id, box in zip(labels.class_ids.tolist(), labels.boxes.tolist(), strict=True)
        ]
        images.append((path, width, height, boxes))  # type: ignore[arg-type]
    return images


def _copied(images: list[Image], folder: Path) -> list[Image]:
    folder.mkdir(parents=True)
    for path, *_ in images:
        shutil.copy(path, folder)
    return [(Path(path).name, width, height, boxes) for path, width, height, boxes in images]


def coco(images: list[Image], folder: Path) -> Path:
    """As CVAT writes it: `annotations/instances_default.json` and `images/default`."""
    names = sorted({box[0] for image in images for box in image[3]})
    content: dict[str, Any] = {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {},
        "categories": [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(names, 1)],
        "images": [],
        "annotations": [],
    }
    for number, (name, width, height, boxes) in enumerate(_copied(images, folder / "images/default"), 1):
        content["images"].append({"id": number, "width": width, "height": height, "file_name": name, "license": 0})
        for label, left, top, right, bottom in boxes:
            content["annotations"].append(
                {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": names.index(label) + 1,
                 "segmentation": [], "area": (right - left) * (bottom - top), "iscrowd": 0,
                 "bbox": [left, top, right - left, bottom - top], "attributes": {"occluded": False}}
            )  # fmt: skip
    path = folder / "annotations/instances_default.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


def labelimg(images: list[Image], folder: Path) -> Path:
    """An XML file beside each image."""
    for name, width, height, boxes in _copied(images, folder):
        objects = "".join(
            f"<object><name>{label}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
            f"<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            for label, left, top, right, bottom in boxes
        )
        (folder / name).with_suffix(".xml").write_text(
            f"<annotation><folder>x</folder><filename>{name}</filename><path>C:\\x\\{name}</path><size><width>{width}"
            f"</width><height>{height}</height><depth>3</depth></size><segmented>0</segmented>{objects}</annotation>"
        )
    return folder


def table(images: list[Image], folder: Path) -> Path:
    """`filename,width,height,class,xmin,ymin,xmax,ymax` beside the images."""
    images = _copied(images, folder)
    path = folder / "labels.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
        rows.writerows([name, width, height, *box] for name, width, height, boxes in images for box in boxes)
    return path


def _regions(image: Image) -> list[dict[str, Any]]:
    _, width, height, boxes = image
    return [
        {"x": 100 * left / width, "y": 100 * top / height, "width": 100 * (right - left) / width,
         "height": 100 * (bottom - top) / height, "rotation": 0, "rectanglelabels": [label]}
        for label, left, top, right, bottom in boxes
    ]  # fmt: skip


def labelstudio(images: list[Image], folder: Path) -> Path:
    """The export `JSON`: tasks with annotations; images as they were uploaded, under their own names here."""
    tasks = []
    for number, image in enumerate(_copied(images, folder), 1):
        name, width, height, _ = image
        result = [
            {"id": f"r{place}", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "origin": "manual",
             "original_width": width, "original_height": height, "image_rotation": 0, "value": value}
            for place, value in enumerate(_regions(image))
        ]  # fmt: skip
        annotation = {"id": number, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False}
        data = {"image": f"/data/upload/1/{number:08x}-{name}"}
        tasks.append({"id": number, "annotations": [annotation], "predictions": [], "data": data, "project": 1})
    path = folder / "project-1.json"
    path.write_text(json.dumps(tasks))
    return path


def labelstudio_min(images: list[Image], folder: Path) -> Path:
    """The export `JSON_MIN`, with images in local storage."""
    tasks = []
    for number, image in enumerate(_copied(images, folder), 1):
        name, width, height, _ = image
        regions = [{**value, "original_width": width, "original_height": height} for value in _regions(image)]
        tasks.append({"image": f"/data/local-files/?d=hive/{name}", "id": number, "label": regions, "annotator": 1})
    path = folder / "project-1-min.json"
    path.write_text(json.dumps(tasks))
    return path


def labelme(images: list[Image], folder: Path) -> Path:
    """A JSON file beside each image; corners in the order in which they were drawn."""
    for name, width, height, boxes in _copied(images, folder):
        shapes = [
            {"label": label, "points": [[right, bottom], [left, top]], "group_id": None, "description": "",
             "shape_type": "rectangle", "flags": {}, "mask": None}
            for label, left, top, right, bottom in boxes
        ]  # fmt: skip
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None,
                   "imageHeight": height, "imageWidth": width}  # fmt: skip
        (folder / name).with_suffix(".json").write_text(json.dumps(content, indent=2))
    return folder


def cvat(images: list[Image], folder: Path) -> Path:
    """`CVAT for images 1.1`: `annotations.xml` and `images/`."""
    names = sorted({box[0] for image in images for box in image[3]})
    labels = "".join(f"<label><name>{name}</name><color>#fff</color><type>any</type></label>" for name in names)
    lines = [f"<annotations><version>1.1</version><meta><task><name>t</name><labels>{labels}</labels></task></meta>"]
    for number, (name, width, height, boxes) in enumerate(_copied(images, folder / "images")):
        lines.append(f'<image id="{number}" name={quoteattr(name)} width="{width}" height="{height}">')
        lines += [
            f'<box label={quoteattr(label)} source="manual" occluded="0" xtl="{left}" ytl="{top}" xbr="{right}" '
            f'ybr="{bottom}" z_order="0"><attribute name="a">b</attribute></box>'
            for label, left, top, right, bottom in boxes
        ]
        lines.append("</image>")
    path = folder / "annotations.xml"
    path.write_text("\n".join([*lines, "</annotations>"]))
    return path


EXPORTS: dict[str, Callable[[list[Image], Path], Path]] = {
    "coco": coco, "labelimg": labelimg, "csv": table, "labelstudio": labelstudio, "labelstudio min": labelstudio_min,
    "labelme": labelme, "cvat": cvat,
}  # fmt: skip
