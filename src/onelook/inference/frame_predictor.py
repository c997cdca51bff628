"""Finds objects in batches of frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onelook.errors import DataError
from onelook.files.image_bands import BandedImage
from onelook.files.images import Image
from onelook.inference.byte_track import ByteTrack
from onelook.inference.detection_results import FrameResult
from onelook.inference.feature_maps import FeatureMap, FeatureMaps
from onelook.inference.predictor import Predictor
from onelook.inference.sources.frame import Frame
from onelook.inference.sources.open_sources import OpenSources
from onelook.inference.tiling import Tiling, detect_in_bands, detect_in_tiles
from onelook.settings.detect import DetectSettings
from onelook.structures.detections import Detections, chosen


@dataclass(frozen=True)
class FrameDetections:
    """What was found in a frame, on its way from the network to the disk, and then with its image to the window.

    Attributes:
        maps: what the layers of the network put out, if that is asked for.
        drawn: the frame with its detections, (H, W, 3) uint8 RGB, if that is asked for.
    """

    frame: Frame
    result: FrameResult
    maps: tuple[FeatureMap, ...] = ()
    drawn: Image | None = None


@dataclass
class FramePredictor:
    """Finds objects in batches of frames, as a whole or in tiles.

    Attributes:
        maps: notes what its layers put out; frames are processed one by one then.
        seconds: spent on waiting for images, and on predicting.
    """

    settings: DetectSettings
    predictor: Predictor
    maps: FeatureMaps | None = None
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("wait for images", "predict"), 0.0))
    _tracks: dict[Path, tuple[ByteTrack, int]] = field(default_factory=dict)

    def predict(
        self, sources: OpenSources, check: Callable[[], None], *, on_problem: Callable[[DataError], None]
    ) -> Iterator[list[FrameDetections]]:
        """What is found in each batch; `check` is called after every one, and what it raises ends the run.

        Args:
            on_problem: called for an image in bands that can no longer be decoded, which is then skipped.
        """
        mark = time.perf_counter()
        for batch in sources.batches:
            self.seconds["wait for images"] += time.perf_counter() - mark
            yield self._predict_batch(batch, sources, on_problem)
            check()
            mark = time.perf_counter()

    def _predict_batch(
        self, batch: Sequence[Frame], sources: OpenSources, on_problem: Callable[[DataError], None]
    ) -> list[FrameDetections]:
        mark = time.perf_counter()
        batch, found, maps = self._find(batch, on_problem)
        if self.settings.tracker != "none":
            found = [self._followed(frame, detections) for frame, detections in zip(batch, found, strict=True)]
        spent = time.perf_counter() - mark
        self.seconds["predict"] += spent
        return [
            FrameDetections(
                frame,
                FrameResult(
                    path=frame.path,
                    place=frame.shown,
                    number=None if frame.video is None else frame.number,
                    num_frames=None if frame.video is None else frame.video.num_frames,
                    size_hw=frame.size_hw,
                    detections=detections,
                    names=self.predictor.names,
                    milliseconds=1000 * spent / len(batch),
                    file_number=sources.file_numbers.get(frame.path, 0),
                    num_files=len(sources.file_numbers),
                    dropped=frame.dropped if frame.is_live else None,
                ),
                part,
            )
            for frame, detections, part in zip(batch, found, maps, strict=True)
        ]

    def _followed(self, frame: Frame, detections: Detections) -> Detections:
        """The detections of objects that are followed; of a single image those with the confidence asked for."""
        if frame.video is None:
            return chosen(detections, detections.scores >= self.settings.conf_thres)
        tracks, before = self._tracks.get(frame.path, (ByteTrack(self.settings.conf_thres), frame.number - 1))
        if not frame.is_live:
            self._tracks.clear()  # files come one after the other
        self._tracks[frame.path] = (tracks, frame.number)
        return tracks.update(detections, frames=max(frame.number - before, 1))

    def _find(
        self, batch: Sequence[Frame], on_problem: Callable[[DataError], None]
    ) -> tuple[Sequence[Frame], list[Detections], list[tuple[FeatureMap, ...]]]:
        """The frames that could be used, detections of each, and feature maps of each."""
        if self.settings.tile:
            usable, in_tiles = [], []
            for frame in batch:
                try:
                    in_tiles.append(self._find_in_tiles(frame.image))
                    usable.append(frame)
                except DataError as problem:
                    on_problem(problem)
            return usable, in_tiles, [()] * len(usable)
        images = [frame.pixels for frame in batch]
        if self.maps is not None:
            both = [(self.predictor.predict([image])[0], self.maps.take()) for image in images]
            return batch, [found for found, _ in both], [maps for _, maps in both]
        return batch, self.predictor.predict(images), [()] * len(images)

    def _find_in_tiles(self, image: Image | BandedImage) -> Detections:
        predictor, size = self.predictor, self.settings.batch_size
        tiling = Tiling(self.settings.tile, self.settings.tile_overlap)
        if isinstance(image, BandedImage):
            return detect_in_bands(predictor, image, tiling, batch_size=size)
        return detect_in_tiles(predictor.predict, image, tiling, batch_size=size, thresholds=predictor.settings)
