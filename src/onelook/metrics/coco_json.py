"""Labels and detections as the dictionaries of COCO's JSON files, which other evaluators read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onelook.metrics.packing import pack_detections, pack_truths
from onelook.structures.detections import Detections
from onelook.structures.sample import GroundTruth

BOX_DECIMALS = 3
SCORE_DECIMALS = 5


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
    return dataset, _results(detections, range(len(detections)), range(num_classes))


def coco_results(
    detections: Sequence[Detections], *, image_ids: Sequence[int | str], category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """The content of a COCO results file: boxes rounded to 3 decimals of a pixel, scores to 5.

    Args:
        detections: one per image.
        image_ids: (N,) what the file calls each image.
        category_ids: (C,) what the file calls each class.
    """
    results = _results(detections, image_ids, category_ids)
    for result in results:
        result["bbox"] = [round(number, BOX_DECIMALS) for number in result["bbox"]]
        result["score"] = round(result["score"], SCORE_DECIMALS)
    return results


def _results(
    detections: Sequence[Detections], image_ids: Sequence[int | str], category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    packed = pack_detections(detections, num_classes=len(category_ids))
    columns = (packed.image_ids, packed.class_ids, packed.boxes_xywh, packed.scores)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        {"image_id": image_ids[image], "category_id": category_ids[class_id], "bbox": box, "score": score}
        for image, class_id, box, score in rows
    ]
