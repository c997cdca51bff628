"""The confusion matrix: what was predicted where what was true."""

from __future__ import annotations

import numpy as np

from onelook.metrics.matching import DetectionPairs, overlapping_pairs
from onelook.metrics.packing import Flags, Ints, PackedDetections, PackedLabels

MIN_SCORE = 0.25
MIN_IOU = 0.45


def confusion_cells(labels: PackedLabels, detections: PackedDetections, *, num_classes: int) -> Ints:
    """The (C, 3) cells of the confusion matrix, see `confusion_cells.py` in `structures`.

    Detections with a score above 0.25 and labels of any class are paired where their IoU is above 0.45: every
    detection chooses the label it overlaps most, then every label the detection that overlaps it most. A label
    left alone counts as background predicted; a detection left alone counts as background true, in every image,
    with or without labels. Crowd regions are no labels; a detection left alone on one of its class is not counted.
    """
    confident = detections.rows(np.flatnonzero(detections.scores > MIN_SCORE))
    pairs = overlapping_pairs(labels, confident, min_iou=MIN_IOU, same_class=False)
    pairs = pairs.rows(pairs.iou > MIN_IOU)
    with_crowd = labels.is_crowd[pairs.label]
    chosen = _choose_both_ways(pairs.rows(~with_crowd))
    is_lone_label = ~labels.is_crowd
    is_lone_label[chosen.label] = False
    is_lone = np.ones(len(confident.scores), np.bool_)
    on_crowd = pairs.rows(with_crowd)
    is_own_class = labels.class_ids[on_crowd.label] == confident.class_ids[on_crowd.detection]
    is_lone[on_crowd.detection[is_own_class]] = False
    is_lone[chosen.detection] = False
    missed, invented = labels.class_ids[is_lone_label], confident.class_ids[is_lone]
    predicted = [confident.class_ids[chosen.detection], np.full_like(missed, num_classes), invented]
    true = [labels.class_ids[chosen.label], missed, np.full_like(invented, num_classes)]
    pairs_of_classes = np.concatenate(predicted) * (num_classes + 1) + np.concatenate(true)
    cells, counts = np.unique(pairs_of_classes, return_counts=True)
    return np.stack([*np.divmod(cells, num_classes + 1), counts], axis=1).astype(np.int64)


def _choose_both_ways(pairs: DetectionPairs) -> DetectionPairs:
    """The best pair of every detection, then of those the best pair of every label; the first of ties."""
    pairs = pairs.rows(np.lexsort((pairs.label, -pairs.iou, pairs.detection)))
    pairs = pairs.rows(_is_first(pairs.detection))
    pairs = pairs.rows(np.lexsort((pairs.detection, -pairs.iou, pairs.label)))
    return pairs.rows(_is_first(pairs.label))


def _is_first(sorted_ids: Ints) -> Flags:
    is_first: Flags = np.diff(sorted_ids, prepend=-1) != 0
    return is_first
