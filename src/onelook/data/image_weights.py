"""Draws the images of an epoch such that rare and badly detected classes appear more often."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.structures.dataset_index import DatasetIndex

Numbers = npt.NDArray[np.int64]
ClassAp = tuple[float, ...]


def class_weights(class_ids: Numbers, num_classes: int) -> npt.NDArray[np.float64]:
    """(num_classes,) one over the number of labels of each class, scaled to a mean of 1.

    >>> class_weights(np.array([0, 0, 0, 2]), 3).round(2).tolist()
    [0.43, 1.29, 1.29]
    """
    counts = np.maximum(np.bincount(class_ids, minlength=num_classes), 1)
    weights: npt.NDArray[np.float64] = num_classes / counts / (1 / counts).sum()
    return weights


class ImageWeights:
    """Draws the images of an epoch, as many as there are, with replacement.

    The weight of an image is the sum over its labels of the weight of their class, which is one over the number of its
    labels, times (1 - AP)². So an image without labels is never drawn. If no image has any weight, all have the same.
    """

    def __init__(self, index: DatasetIndex, *, num_classes: int, seed: int) -> None:
        self._class_ids = index.class_ids
        self._image_of = np.repeat(np.arange(len(index)), np.diff(index.offsets))
        self._num_images = len(index)
        self._class_weights = class_weights(index.class_ids, num_classes)
        self._seed = seed
        self._last: tuple[int, ClassAp, Numbers] | None = None

    def weights(self, class_ap: ClassAp) -> npt.NDArray[np.float64]:
        """(N,) weight of every image, from the mAP50-95 of every class; none stand for zeros."""
        difficulty = (1 - np.array(class_ap, np.float64)) ** 2 if class_ap else 1.0
        of_class = self._class_weights * difficulty / len(self._class_weights)
        sums = np.bincount(self._image_of, weights=of_class[self._class_ids], minlength=self._num_images)
        return np.asarray(sums, np.float64)

    def draw(self, epoch: int, class_ap: ClassAp) -> Numbers:
        """(N,) the image numbers of an epoch: a pure function of data, seed and arguments."""
        if self._last is None or self._last[:2] != (epoch, class_ap):
            weights = self.weights(class_ap)
            bounds = np.cumsum(weights if weights.any() else np.ones_like(weights))
            rng = generator(SampleKey(self._seed, epoch, 0), Purpose.IMAGE_WEIGHTS)
            drawn = np.searchsorted(bounds, rng.random(self._num_images) * bounds[-1], side="right")
            # A product may round up to the last bound.
            self._last = (epoch, class_ap, np.minimum(drawn, self._num_images - 1))
        return self._last[2]
