"""A detector to call on images; what `onelook.load` gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from onelook.errors import counted
from onelook.files.images import Image
from onelook.inference.byte_track import LOW_CONFIDENCE, ByteTrack
from onelook.inference.image_inputs import ImageInput, given_images
from onelook.inference.image_result import ImageResult
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.structures.coco_classes import image_ids
from onelook.structures.detections import Detections

IMAGES_AT_A_TIME = 8


class Detector:
    """Finds objects in images."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.names: tuple[str, ...] = predictor.names

    @property
    def settings(self) -> PredictionSettings:
        """Thresholds and size."""
        return self._predictor.settings

    def __repr__(self) -> str:
        first = ", ".join(self.names[:5])
        return f"<Detector of {counted(len(self.names), 'class')}: {first}{', ...' * (len(self.names) > 5)}>"

    def __call__(self, source: Any) -> ImageResult | list[ImageResult]:
        """What is in one image, or, for several, a list in their order.

        Args:
            source: see `given_images`; one file, array, tensor or image is one image, all else is several.

        Raises:
            DataError: an image cannot be used.
        """
        inputs, is_single = given_images(source)
        results: list[ImageResult] = []
        coming = zip(inputs, _ids_of(inputs), strict=True)
        while group := list(islice(coming, IMAGES_AT_A_TIME)):
            images = [each.pixels() for each, _ in group]
            found = self._predictor.predict(images)
            results += [
                self._result(*one, image, detections)
                for one, image, detections in zip(group, images, found, strict=True)
            ]
        return results[0] if is_single else results

    def track(self, frames: Iterable[Any]) -> Iterator[ImageResult]:
        """What is in each frame of a video, with ids that objects keep from frame to frame, see `ByteTrack`.

        Args:
            frames: images in the order of time, each as `given_images` takes a single one.

        Yields:
            A result for each frame as it comes, with `object_ids`.

        Raises:
            DataError: a frame cannot be used.
        """
        conf_thres = self.settings.conf_thres
        predictor = self._predictor.with_settings(replace(self.settings, conf_thres=min(conf_thres, LOW_CONFIDENCE)))
        tracks = ByteTrack(conf_thres)
        for number, frame in enumerate(frames):
            (given,), _ = given_images(frame)
            image = given.pixels()
            yield self._result(given, number, image, tracks.update(predictor.predict([image])[0]))

    def _result(self, given: ImageInput, image_id: int | str, image: Image, found: Detections) -> ImageResult:
        size_hw = image.shape[0], image.shape[1]
        return ImageResult(**vars(found), image_input=given, image_id=image_id, size_hw=size_hw, names=self.names)


def _ids_of(inputs: Sequence[ImageInput]) -> Sequence[int | str]:
    """What images that are given together are called in COCO's files; of pixels, their positions."""
    paths = [given.path for given in inputs]
    return range(len(paths)) if None in paths else image_ids([path.stem for path in paths if path is not None])
