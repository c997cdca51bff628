"""A detector to call on images; what `onelook.load` gives."""

from __future__ import annotations

from itertools import islice
from typing import Any

from onelook.inference.image_inputs import given_images
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.recipes.result import ImageResult

IMAGES_AT_A_TIME = 8


class Detector:
    """Finds objects in images.

    Attributes:
        names: class names.

    Args:
        predictor: does the work.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.names: tuple[str, ...] = predictor.names

    @property
    def settings(self) -> PredictionSettings:
        """Thresholds and size."""
        return self._predictor.settings

    def __repr__(self) -> str:
        return f"<Detector of {len(self.names)} classes: {', '.join(self.names[:5])}{', ...' * (len(self.names) > 5)}>"

    def __call__(self, source: Any) -> ImageResult | list[ImageResult]:
        """What is in one image, or, for several, a list in their order.

        Args:
            source: see `given_images`; one file, array, tensor or image is one image, all else is several.

        Raises:
            DataError: an image cannot be used.
        """
        inputs, is_single = given_images(source)
        results: list[ImageResult] = []
        coming = iter(inputs)
        while group := list(islice(coming, IMAGES_AT_A_TIME)):
            images = [each.pixels() for each in group]
            for each, image, found in zip(group, images, self._predictor.predict(images), strict=True):
                results.append(
                    ImageResult(
                        boxes=found.boxes,
                        scores=found.scores,
                        class_ids=found.class_ids,
                        image_input=each,
                        size_hw=(image.shape[0], image.shape[1]),
                        names=self.names,
                    )
                )
        return results[0] if is_single else results
