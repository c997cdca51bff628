"""A detector to call on pictures; what `onelook.load` gives."""

from __future__ import annotations

from itertools import islice
from typing import Any

from onelook.engine.given_pictures import given_pictures
from onelook.engine.predictor import PredictionSettings, Predictor
from onelook.recipes.picture_result import PictureResult

PICTURES_AT_A_TIME = 8


class Detector:
    """Finds objects in pictures.

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

    def __call__(self, source: Any) -> PictureResult | list[PictureResult]:
        """What is in one picture, or, for several, a list in their order.

        Args:
            source: see `given_pictures`; one file, array, tensor or image is one picture, all else is several.

        Raises:
            DataError: a picture cannot be used.
        """
        pictures, is_single = given_pictures(source)
        results: list[PictureResult] = []
        coming = iter(pictures)
        while group := list(islice(coming, PICTURES_AT_A_TIME)):
            images = [picture.pixels() for picture in group]
            for picture, image, found in zip(group, images, self._predictor.predict(images), strict=True):
                results.append(
                    PictureResult(
                        boxes=found.boxes,
                        scores=found.scores,
                        class_ids=found.class_ids,
                        picture=picture,
                        size_hw=(image.shape[0], image.shape[1]),
                        names=self.names,
                    )
                )
        return results[0] if is_single else results
