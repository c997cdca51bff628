"""What went right and wrong in each image, at one confidence and IoU 0.50: for images, not for scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onelook.metrics.confidence_curves import IOU
from onelook.metrics.matching import label_holders, overlapping_pairs
from onelook.metrics.packing import Flags, pack_detections, pack_labels
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels


@dataclass(frozen=True)
class ImageOutcome:
    """One image.

    Attributes:
        is_found: (M,) of each label: a detection of its class hits it.
        is_label: (M,) False for crowd regions, which cannot be missed.
        is_shown: (D,) of each detection, in the order given: its score reaches the confidence, and it does not merely
            lie on a crowd region.
        is_right: (D,) it hits a label of its class.
    """

    is_found: Flags
    is_label: Flags
    is_shown: Flags
    is_right: Flags

    @property
    def num_right(self) -> int:
        """Labels that were found."""
        return int(self.is_right.sum())

    @property
    def num_missed(self) -> int:
        """Labels that were not found."""
        return int((self.is_label & ~self.is_found).sum())

    @property
    def num_wrong(self) -> int:
        """Detections where there is no label of their class."""
        return int((self.is_shown & ~self.is_right).sum())

    @property
    def num_errors(self) -> int:
        """Missed labels and wrong detections."""
        return self.num_missed + self.num_wrong

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall within the image; 1 where there is nothing and nothing was found."""
        errors = self.num_errors
        return 2 * self.num_right / (2 * self.num_right + errors) if self.num_right or errors else 1.0


def image_outcomes(
    labels: Sequence[ImageLabels], detections: Sequence[Detections], *, num_classes: int, confidence: float
) -> list[ImageOutcome]:
    """The outcome of each image, matched just as for precision and recall.

    Args:
        labels, detections: one each per image, in the same order; class ids below `num_classes`.
        confidence: detections with a lower score count for nothing.

    Raises:
        DataError: a class id is out of range.
        NumericsError: a box or score is not finite.
    """
    packed, found = (pack_labels(labels, num_classes=num_classes), pack_detections(detections, num_classes=num_classes))
    ranks = np.lexsort((-found.scores, found.class_ids))  # as `judge` wants them
    ranks = ranks[found.scores[ranks] >= confidence]
    ranked = found.rows(ranks)
    pairs = overlapping_pairs(packed, ranked, min_iou=IOU, same_class=True)
    on_crowd = packed.is_crowd[pairs.label]
    holders = label_holders(pairs.rows(~on_crowd), num_detections=len(ranks), num_labels=len(packed.class_ids))
    is_found = holders < len(ranks)
    is_right = np.zeros(len(found.scores), np.bool_)
    is_right[ranks[holders[is_found]]] = True
    is_shown = np.zeros(len(found.scores), np.bool_)
    is_shown[ranks] = True
    is_shown[ranks[pairs.detection[on_crowd]]] = False
    is_shown |= is_right
    label_cuts = np.cumsum([len(one.class_ids) for one in labels])[:-1]
    found_cuts = np.cumsum([len(one) for one in detections])[:-1]
    columns = (
        np.split(is_found, label_cuts),
        np.split(~packed.is_crowd, label_cuts),
        np.split(is_shown, found_cuts),
        np.split(is_right, found_cuts),
    )
    return [ImageOutcome(*parts) for parts in zip(*columns, strict=True)][: len(labels)]
