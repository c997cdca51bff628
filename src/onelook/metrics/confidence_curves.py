"""Precision, recall and F1 as functions of the confidence threshold, at IoU 0.50, and the best threshold.

Letters: D detections, K classes that have labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onelook.metrics.matching import match_by_score, overlapping_pairs
from onelook.metrics.packing import Flags, Floats, Ints, PackedDetections, PackedLabels

NUM_POINTS = 1000
SMOOTHING = 0.1
IOU = 0.5


@dataclass(frozen=True)
class ConfidenceCurves:
    """`confidence` (1000,) from 0 to 1; `precision`, `recall`, `f1` (K, 1000) at these confidences."""

    confidence: Floats
    precision: Floats
    recall: Floats
    f1: Floats

    def best_point(self) -> int:
        """The point of the highest F1, mean over classes, smoothed by a box filter over 10 % of the points."""
        return int(np.argmax(smooth(self.f1.mean(axis=0), SMOOTHING))) if len(self.f1) else 0


def confidence_curves(
    labels: PackedLabels, detections: PackedDetections, *, class_ids: Ints, num_labels: Ints, max_det: int
) -> ConfidenceCurves:
    """Curves of the classes `class_ids` (K,), which have `num_labels` (K,) labels each, none of them 0.

    Detections are matched as COCO does at IoU 0.50; one that lies on a crowd region counts neither way. Between the
    scores that occur, the curves are straight lines; above the highest score recall is 0 and precision 1. A class
    without detections has 0 throughout.
    """
    ranked = _ranked(detections, max_det)
    is_hit, is_ignored = judge(labels, ranked)
    counted = np.flatnonzero(~is_ignored)
    is_hit, scores, classes = is_hit[counted], ranked.scores[counted], ranked.class_ids[counted]
    bounds = np.searchsorted(classes, np.stack([class_ids, class_ids + 1]))
    confidence = np.linspace(0, 1, NUM_POINTS)
    precision = np.zeros((len(class_ids), NUM_POINTS))
    recall = np.zeros_like(precision)
    for row, (start, stop) in enumerate(bounds.T.tolist()):
        if start == stop:
            continue
        score = scores[start:stop]
        last_of_ties = np.append(np.flatnonzero(np.diff(score)), stop - start - 1)
        hits = np.cumsum(is_hit[start:stop])[last_of_ties]
        falling = -score[last_of_ties]
        recall[row] = np.interp(-confidence, falling, hits / num_labels[row], left=0)
        precision[row] = np.interp(-confidence, falling, hits / (last_of_ties + 1), left=1)
    f1 = 2 * precision * recall / (precision + recall + 1e-16)
    return ConfidenceCurves(confidence, precision, recall, f1)


def judge(labels: PackedLabels, detections: PackedDetections) -> tuple[Flags, Flags]:
    """Two (D,) flags: the detection hits a label at IoU 0.50; it does not, but lies on a crowd region of its class.

    `detections` must be sorted by falling score within each image and class.
    """
    pairs = overlapping_pairs(labels, detections, min_iou=IOU, same_class=True)
    with_crowd = labels.is_crowd[pairs.label]
    num_detections = len(detections.scores)
    is_hit = match_by_score(pairs.rows(~with_crowd), num_detections=num_detections, num_labels=len(labels.areas))
    is_ignored = np.zeros(num_detections, np.bool_)
    is_ignored[pairs.detection[with_crowd]] = True
    return is_hit, is_ignored & ~is_hit


def smooth(values: Floats, fraction: float) -> Floats:
    """Moving mean of `values` (N,) over about `fraction` of its length; beyond the ends the end values are repeated.

    >>> smooth(np.array([0.0, 0.0, 3.0, 0.0, 0.0]), 0.4).tolist()
    [0.0, 1.0, 1.0, 1.0, 0.0]
    """
    width = round(len(values) * fraction) // 2 * 2 + 1
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def _ranked(detections: PackedDetections, max_det: int) -> PackedDetections:
    """Detections by class, then by falling score; the first `max_det` of each image and class; ties stay in order."""
    ranked = detections.rows(np.lexsort((-detections.scores, detections.class_ids)))
    if not len(ranked.scores) or np.bincount(ranked.image_ids).max() <= max_det:
        return ranked
    by_group = np.lexsort((ranked.image_ids, ranked.class_ids))
    images, classes = ranked.image_ids[by_group], ranked.class_ids[by_group]
    is_first = np.append(True, (np.diff(images) != 0) | (np.diff(classes) != 0))
    group_start = np.maximum.accumulate(np.where(is_first, np.arange(len(images)), 0))
    kept = by_group[np.arange(len(images)) - group_start < max_det]
    return ranked.rows(np.sort(kept))
