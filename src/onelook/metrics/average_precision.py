"""COCO's average precision, through the `hotcoco` library; nothing else here knows that library."""

from __future__ import annotations

from dataclasses import dataclass

import hotcoco
import numpy as np

from onelook.metrics.packing import Floats, PackedDetections, PackedLabels

NO_LABELS = -1
"""What the precision table holds where a class has no labels in an area range."""


@dataclass(frozen=True)
class PrecisionTable:
    """Interpolated precision as COCO defines it.

    Attributes:
        precision: (T, R, C, A): 10 IoU thresholds 0.50 to 0.95, 101 recall points 0 to 1, C classes, 4 area ranges
            (all, small, medium, large); `NO_LABELS` where a class has none in the range.
        recall_points: (R,).
    """

    precision: Floats
    recall_points: Floats

    def average(self, *, iou: int | None = None, area: int = 0) -> float:
        """Mean over thresholds (or the one numbered `iou`), recall points and classes with labels; nan if none."""
        precision = self.precision[..., area] if iou is None else self.precision[iou, :, :, area]
        valid = precision[precision > NO_LABELS]
        return float(valid.mean()) if valid.size else float("nan")

    def per_class(self, *, iou: int | None = None) -> Floats:
        """(C,) average precision of every class, all areas; `NO_LABELS` for classes without labels."""
        average: Floats = (self.precision if iou is None else self.precision[iou : iou + 1])[..., 0].mean(axis=(0, 1))
        return average


def precision_table(
    labels: PackedLabels, detections: PackedDetections, *, num_images: int, num_classes: int, max_det: int
) -> PrecisionTable:
    """COCO's evaluation of boxes: `pycocotools.COCOeval` with `maxDets=[max_det]` gives the same numbers.

    Detections of equal score count in the order given, image by image. At most `max_det` detections count per image
    and class.
    """
    dataset = hotcoco.COCO.from_arrays(
        [{"id": image, "width": 0, "height": 0} for image in range(num_images)],
        [{"id": class_id, "name": str(class_id)} for class_id in range(num_classes)],
        labels.image_ids,
        labels.class_ids,
        labels.boxes_xywh,
        area=labels.areas,
        iscrowd=labels.is_crowd,
    )
    columns = (detections.image_ids, detections.boxes_xywh, detections.scores, detections.class_ids)
    results = dataset.load_res(np.column_stack(columns))
    evaluator = hotcoco.COCOeval(dataset, results, "bbox")
    evaluator.params.max_dets = [max_det]
    evaluator.evaluate()
    evaluator.accumulate()
    accumulated = evaluator.eval or {}
    precision: Floats = np.asarray(accumulated["precision"], np.float64)[..., 0]
    return PrecisionTable(precision, np.asarray(evaluator.params.rec_thrs, np.float64))
