"""Which detections overlap which labels, and COCO's assignment of one to the other, for all images at once.

Letters: D detections, M labels, P pairs of the two that belong together and overlap.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from onelook.geometry.iou import coco_iou
from onelook.metrics.packing import Flags, Floats, Ints, PackedDetections, PackedLabels

PAIRS_AT_A_TIME = 1 << 19


class DetectionPairs(NamedTuple):
    """Overlapping detections and labels, sorted by detection.

    Attributes:
        detection: (P,) row of the detection.
        label: (P,) row of the label.
        iou: (P,) intersection over union; over the detection's own area where the label is a crowd.
    """

    detection: Ints
    label: Ints
    iou: Floats

    def rows(self, index: npt.NDArray[Any]) -> DetectionPairs:
        """The pairs that `index` (positions or flags) names, in that order."""
        return DetectionPairs(*(column[index] for column in self))


def overlapping_pairs(
    labels: PackedLabels, detections: PackedDetections, *, min_iou: float, same_class: bool
) -> DetectionPairs:
    """All pairs of a detection and a label of the same image (and class, if asked) with an IoU of at least `min_iou`.

    Memory stays bounded: about half a million candidate pairs are compared at a time.
    """
    num_classes = 1 + max(labels.class_ids.max(initial=0), detections.class_ids.max(initial=0)) if same_class else 1
    label_group = labels.image_ids * num_classes + (labels.class_ids if same_class else 0)
    detection_group = detections.image_ids * num_classes + (detections.class_ids if same_class else 0)
    by_group = np.argsort(label_group, kind="stable")
    groups, first, size = np.unique(label_group[by_group], return_index=True, return_counts=True)
    group = np.searchsorted(groups, detection_group)
    group[np.append(groups, -1)[group] != detection_group] = len(groups)
    first, count = np.append(first, 0)[group], np.append(size, 0)[group]
    candidates = np.flatnonzero(count)
    found = []
    for rows in _slices(candidates, count[candidates]):
        detection = np.repeat(rows, count[rows])
        ends = np.cumsum(count[rows])
        step = np.arange(len(detection)) - np.repeat(ends - count[rows], count[rows])
        label = by_group[first[detection] + step]
        iou = coco_iou(detections.boxes_xywh[detection], labels.boxes_xywh[label], labels.is_crowd[label])
        found.append(DetectionPairs(detection, label, iou).rows(np.flatnonzero(iou >= min_iou)))
    return _join(found)


def match_by_score(pairs: DetectionPairs, *, num_detections: int, num_labels: int) -> Flags:
    """(D,) which detections win a label; see `label_holders`."""
    holders = label_holders(pairs, num_detections=num_detections, num_labels=num_labels)
    won = np.zeros(num_detections + 1, np.bool_)
    won[holders] = True
    return won[:-1]


def label_holders(pairs: DetectionPairs, *, num_detections: int, num_labels: int) -> Ints:
    """(M,) which detection wins each label when each, best score first, takes the free label it overlaps most.

    A label that none wins has D. Detections must be numbered by falling score within their image and class. Between
    labels of equal overlap the later one is taken, as in pycocotools. Crowd labels are not for this function.

    The loop over detections is replaced by deferred acceptance: every detection without a label asks for its next
    best; a label keeps the best-scored of those that asked. All labels rank detections alike, so the outcome is the
    same, after a few rounds over whole arrays (Gale and Shapley, College Admissions and the Stability of Marriage,
    1962).
    """
    pairs = pairs.rows(np.lexsort((-pairs.label, -pairs.iou, pairs.detection)))
    next_pair = np.searchsorted(pairs.detection, np.arange(num_detections + 1))
    end = next_pair[1:].copy()
    holder = np.full(num_labels, num_detections)
    asking = np.flatnonzero(next_pair[:-1] < end)
    while len(asking):
        wanted = pairs.label[next_pair[asking]]
        next_pair[asking] += 1
        before = holder[wanted]
        np.minimum.at(holder, wanted, asking)
        is_taken = holder[wanted] == asking
        displaced = before[is_taken & (before < num_detections)]
        asking = np.concatenate([asking[~is_taken], displaced])
        asking = asking[next_pair[asking] < end[asking]]
    return holder


def _slices(rows: Ints, counts: Ints) -> list[Ints]:
    """`rows` cut so that each piece has `PAIRS_AT_A_TIME` pairs or is a single row."""
    cuts = np.flatnonzero(np.diff(np.cumsum(counts) // PAIRS_AT_A_TIME)) + 1
    return [piece for piece in np.split(rows, cuts) if len(piece)]


def _join(found: list[DetectionPairs]) -> DetectionPairs:
    if not found:
        return DetectionPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return DetectionPairs(*(np.concatenate(column) for column in zip(*found, strict=True)))
