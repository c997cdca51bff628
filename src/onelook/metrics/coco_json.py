"""Labels and detections as the dictionaries of COCO's JSON files, which other evaluators read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onelook.metrics.packing import pack_detections, pack_truths
from onelook.structures.detections import Detections
from onelook.structures.sample import GroundTruth


def to_coco_json(
    truths: Sequence[GroundTruth], detections: Sequence[Detections], *, num_classes: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A data set and results that `pycocotools` can load, nothing rounded; ids are positions, annotations from 1.

    >>> import numpy as np
    >>> truth = GroundTruth(boxes=np.array([[0.0, 0.0, 4.0, 2.0]]), class_ids=np.array([0]))
    >>> dataset, results = to_coco_json([truth], [Detections.empty()], num_classes=1)
    >>> dataset["annotations"][0]["bbox"], results
    ([0.0, 0.0, 4.0, 2.0], [])
    """
    packed = pack_truths(truths, num_classes=num_classes)
    columns = (packed.image_ids, packed.class_ids, packed.boxes_xywh, packed.areas, packed.is_crowd)
    annotations = [
        {"id": row, "image_id": image, "category_id": class_id, "bbox": box, "area": area, "iscrowd": int(is_crowd)}
        for row, (image, class_id, box, area, is_crowd) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True), start=1
        )
    ]
    dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(truths))],
        "categories": [{"id": class_id, "name": str(class_id)} for class_id in range(num_classes)],
        "annotations": annotations,
    }
    return dataset, _results(detections, num_classes)


def _results(detections: Sequence[Detections], num_classes: int) -> list[dict[str, Any]]:
    packed = pack_detections(detections, num_classes=num_classes)
    columns = (packed.image_ids, packed.class_ids, packed.boxes_xywh, packed.scores)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        {"image_id": image, "category_id": class_id, "bbox": box, "score": score}
        for image, class_id, box, score in rows
    ]
