"""Labels and detections as the dictionaries of COCO's JSON files, which other evaluators read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from onelook.metrics.packing import pack_detections, pack_labels
from onelook.structures.coco_classes import category_ids, image_ids
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels


@dataclass(frozen=True)
class CocoLabelling:
    """What images and classes are called in COCO's files: ids of each, and further entries of each image."""

    image_ids: Sequence[int] | Sequence[str]
    category_ids: Sequence[int]
    names: Sequence[str]
    images: Sequence[dict[str, Any]]

    @staticmethod
    def by_position(num_images: int, num_classes: int) -> CocoLabelling:
        """Everything is called by its number, from 0."""
        names = [str(class_id) for class_id in range(num_classes)]
        return CocoLabelling(range(num_images), range(num_classes), names, [{}] * num_images)


def labelling_of(index: DatasetIndex, names: Sequence[str]) -> CocoLabelling:
    """What the images and classes of a split are called.

    If the classes are those of COCO, they have the category ids of its own files. Images have the ids that `image_ids`
    gives: those of COCO are the ids of its own files, so that results can be compared with these.
    """
    stems = [PurePath(path).stem for path in index.paths]
    images = [
        {"file_name": PurePath(path).name, "height": height, "width": width}
        for path, (height, width) in zip(index.paths, index.sizes_hw.tolist(), strict=True)
    ]
    return CocoLabelling(image_ids(stems), category_ids(names), names, images)


def to_coco_json(
    labels: Sequence[ImageLabels],
    detections: Sequence[Detections],
    *,
    num_classes: int,
    labelling: CocoLabelling | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A dataset and results that `pycocotools` can load, nothing rounded; ids of annotations count from 1.

    Args:
        labels: one per image.
        detections: one per image.
        num_classes: class ids are below it.
        labelling: what images and classes are called; by default, their positions.

    >>> import numpy as np
    >>> one = ImageLabels(boxes=np.array([[0.0, 0.0, 4.0, 2.0]]), class_ids=np.array([0]))
    >>> dataset, results = to_coco_json([one], [Detections.empty()], num_classes=1)
    >>> dataset["annotations"][0]["bbox"], results
    ([0.0, 0.0, 4.0, 2.0], [])
    """
    called = labelling or CocoLabelling.by_position(len(labels), num_classes)
    packed = pack_labels(labels, num_classes=num_classes)
    columns = (packed.image_ids, packed.class_ids, packed.boxes_xywh, packed.areas, packed.is_crowd)
    annotations = [
        {
            "id": row,
            "image_id": called.image_ids[image],
            "category_id": called.category_ids[class_id],
            "bbox": box,
            "area": area,
            "iscrowd": int(is_crowd),
        }
        for row, (image, class_id, box, area, is_crowd) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True), start=1
        )
    ]
    dataset = {
        "info": {},
        "images": [{"id": number, **more} for number, more in zip(called.image_ids, called.images, strict=True)],
        "categories": [{"id": i, "name": name} for i, name in zip(called.category_ids, called.names, strict=True)],
        "annotations": annotations,
    }
    found = pack_detections(detections, num_classes=num_classes)
    rows = zip(*(column.tolist() for column in found), strict=True)
    results = [
        {"image_id": called.image_ids[image], "category_id": called.category_ids[class_id], "bbox": box, "score": score}
        for image, class_id, box, score in rows
    ]
    return dataset, results
