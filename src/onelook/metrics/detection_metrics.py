"""Everything an evaluation says about a detector, from labels and detections of all images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onelook.errors import DataError
from onelook.metrics.average_precision import PrecisionTable, precision_table
from onelook.metrics.confidence_curves import ConfidenceCurves, confidence_curves
from onelook.metrics.confusion import confusion_cells
from onelook.metrics.packing import Floats, Ints, PackedLabels, pack_detections, pack_labels
from onelook.structures.detections import Detections
from onelook.structures.metrics import DetectionMetrics, MetricCurves
from onelook.structures.sample import ImageLabels

IOU_50, IOU_75 = 0, 5
SMALL, MEDIUM, LARGE = 1, 2, 3


def evaluate(
    labels: Sequence[ImageLabels], detections: Sequence[Detections], *, num_classes: int, max_det: int = 300
) -> DetectionMetrics:
    """The metrics of `detections` measured against `labels`, image by image.

    Average precision is COCO's, with at most `max_det` detections per image and class. Precision, recall and F1 are
    those at IoU 0.50 and the confidence of the highest (smoothed) mean F1. Classes without labels are left out of
    every mean; a class with labels but no detections counts as 0. Crowd labels are counted nowhere. Without any
    labels, all fractions are 0, those by area nan.

    Args:
        labels, detections: one each per image, in the same order, pixels of the original image.
        num_classes: class ids are below this number.
        max_det: largest number of detections that count per image and class.

    Raises:
        DataError: the two sequences differ in length, or a class id is out of range.
        NumericsError: a box or score is not finite.

    >>> one = ImageLabels(boxes=np.array([[0.0, 0.0, 10.0, 10.0]]), class_ids=np.array([1]))
    >>> found = Detections(np.array([[0, 0, 10, 9]], np.float32), np.array([0.8], np.float32), np.array([1]))
    >>> metrics = evaluate([one], [found], num_classes=2)
    >>> round(metrics.map50, 3), round(metrics.map50_95, 3), metrics.class_ids.tolist()
    (1.0, 0.9, [1])
    """
    if len(labels) != len(detections):
        raise DataError(f"labels are given for {len(labels)} images, detections for {len(detections)}")
    packed_labels = pack_labels(labels, num_classes=num_classes)
    packed = pack_detections(detections, num_classes=num_classes)
    labels_per_class, images_per_class = _count_labels(packed_labels, num_classes)
    class_ids = np.flatnonzero(labels_per_class)
    num_labels = labels_per_class[class_ids]
    table = precision_table(packed_labels, packed, num_images=len(labels), num_classes=num_classes, max_det=max_det)
    curves = confidence_curves(packed_labels, packed, class_ids=class_ids, num_labels=num_labels, max_det=max_det)
    best = curves.best_point()
    return DetectionMetrics(
        precision=_mean(curves.precision[:, best]),
        recall=_mean(curves.recall[:, best]),
        f1=_mean(curves.f1[:, best]),
        map50=_or_zero(table.average(iou=IOU_50)),
        map75=_or_zero(table.average(iou=IOU_75)),
        map50_95=_or_zero(table.average()),
        map_small=table.average(area=SMALL),
        map_medium=table.average(area=MEDIUM),
        map_large=table.average(area=LARGE),
        class_ids=class_ids,
        class_precision=curves.precision[:, best],
        class_recall=curves.recall[:, best],
        class_f1=curves.f1[:, best],
        class_ap50=table.per_class(iou=IOU_50)[class_ids],
        class_ap=table.per_class()[class_ids],
        class_num_images=images_per_class[class_ids],
        class_num_labels=num_labels,
        num_images=len(labels),
        num_labels=int(num_labels.sum()),
        best_confidence=float(curves.confidence[best]),
        curves=_for_plots(curves, table, class_ids),
        num_classes=num_classes,
        confusion_cells=confusion_cells(packed_labels, packed, num_classes=num_classes),
    )


def _count_labels(labels: PackedLabels, num_classes: int) -> tuple[Ints, Ints]:
    """(C,) labels, and images with a label, of every class; crowds left out."""
    classes, images = labels.class_ids[~labels.is_crowd], labels.image_ids[~labels.is_crowd]
    _, first = np.unique(images * num_classes + classes, return_index=True)
    return np.bincount(classes, minlength=num_classes), np.bincount(classes[first], minlength=num_classes)


def _for_plots(curves: ConfidenceCurves, table: PrecisionTable, class_ids: Ints) -> MetricCurves:
    return MetricCurves(
        **vars(curves),
        recall_points=table.recall_points,
        precision_at_recall=table.precision[IOU_50, :, class_ids, 0],
    )


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else 0.0


def _or_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else value
