"""Files of a detection run: drawn images and videos, text labels, CSV and JSON, crops, feature maps."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.callbacks.detection_rows import CsvOfDetections, JsonOfDetections, detection_rows
from onelook.data.media import VideoWriter
from onelook.drawing.boxes import draw_detections
from onelook.drawing.crops import crop, folder_name
from onelook.drawing.feature_maps import draw_feature_maps
from onelook.errors import DataError
from onelook.files.atomic import write_bytes_atomic, write_text_atomic
from onelook.files.image_bands import BandedImage
from onelook.files.images import Image, drawn_name, write_image
from onelook.geometry.boxes import xyxy_to_cxcywh
from onelook.inference.feature_maps import FeatureMap
from onelook.inference.frame_predictor import FrameDetections
from onelook.inference.sources import Frame
from onelook.settings.detect import DetectSettings
from onelook.structures.detections import Detections

CORNERS = 1  # the value of the setting `save_format`


class DetectionFiles:
    """Draws detections and writes the files of a run; a context manager, after which videos, CSV and JSON are complete.

    Equal stems from different folders get `_2`, `_3`, ... appended, so that no file replaces another.

    Args:
        folder: where they go, if the settings ask for any.
        settings: which files to write.
        has_numbers: all sources are images with distinct numbers as names, which are their `image_id` in the JSON; else
            their stems are.
        on_problem: called once for each image or video that cannot be drawn or written; everything else is written.

    Attributes:
        seconds: time spent so far.
    """

    def __init__(
        self,
        folder: Path | None,
        settings: DetectSettings,
        names: Sequence[str],
        *,
        has_numbers: bool = False,
        on_problem: Callable[[DataError], None],
    ) -> None:
        self.seconds = 0.0
        self._folder = folder or Path()
        self._settings = settings
        self._names = names
        self._stems: dict[Path, str] = {}
        self._claimed = Names()
        self._videos: dict[Path, VideoWriter] = {}
        self._has_numbers = has_numbers
        self._on_problem = on_problem
        self._not_drawn: set[Path] = set()
        self._at_end = ExitStack()
        self._rows: list[CsvOfDetections | JsonOfDetections] = []
        if settings.save_csv:
            self._rows.append(CsvOfDetections(self._folder / "predictions.csv", has_objects=settings.tracker != "none"))
        if settings.save_json:
            self._rows.append(JsonOfDetections(self._folder / "predictions.json", names))
        for rows in self._rows:
            self._at_end.callback(rows.close)
        self._at_end.callback(self._finish_videos)

    @staticmethod
    def are_wanted(settings: DetectSettings) -> bool:
        """Whether the settings ask for any file at all."""
        others = (settings.save_txt, settings.save_csv, settings.save_json, settings.save_crop, settings.visualize)
        return not settings.nosave or any(others)

    def write(self, batch: Sequence[FrameDetections]) -> list[FrameDetections]:
        """Write the files of a batch; the batch, with its drawn images if they are shown in a window."""
        mark = time.perf_counter()
        written = [self._write(found) for found in batch]
        self.seconds += time.perf_counter() - mark
        return written

    def __enter__(self) -> DetectionFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._at_end.close()

    def _write(self, found: FrameDetections) -> FrameDetections:
        frame, settings = found.frame, self._settings
        is_wanted = settings.view_img or not settings.nosave
        is_in_bands = isinstance(frame.image, BandedImage)
        if is_in_bands and (is_wanted or settings.save_crop):
            self._on_problem(_too_large_to_draw(frame))
        drawn = self._drawn(frame, found.result.detections) if is_wanted and not is_in_bands else None
        if self.are_wanted(settings):
            self._write_files(frame, found.result.detections, drawn, found.maps)
        return replace(found, maps=(), drawn=drawn if settings.view_img else None)

    def _drawn(self, frame: Frame, detections: Detections) -> Image:
        """(H, W, 3) uint8 RGB: the frame with its detections drawn as the settings ask."""
        settings = self._settings
        return draw_detections(
            frame.pixels,
            detections.boxes,
            detections.class_ids,
            detections.scores,
            self._names,
            line_thickness=settings.line_thickness or None,
            object_ids=detections.object_ids,
            hide_labels=settings.hide_labels,
            hide_conf=settings.hide_conf,
        )

    def _write_files(
        self, frame: Frame, detections: Detections, drawn: Image | None, maps: Sequence[FeatureMap]
    ) -> None:
        settings = self._settings
        stem = self._stem(frame.path)
        frame_stem = stem if frame.video is None else f"{stem}_{frame.number}"
        if frame.video is not None and not frame.is_live:  # a stream shares its folder with no file, and may never end
            frame_stem = self._claimed.claim("", frame_stem)
        if settings.save_txt:
            lines = label_lines(
                detections,
                size_hw=frame.size_hw,
                save_conf=settings.save_conf,
                corners=settings.save_format == CORNERS,
            )
            write_text_atomic(self._below("labels") / f"{frame_stem}.txt", lines)
        image_id = int(frame_stem) if self._has_numbers else frame_stem
        rows = detection_rows(frame, detections, self._names, image_id=image_id) if self._rows else []
        for file in self._rows:
            file.add(rows)
        if settings.save_crop and not isinstance(frame.image, BandedImage):
            self._write_crops(frame, detections, frame_stem)
        for feature_map in maps:
            self._write_map(feature_map, frame_stem)
        if not settings.nosave and drawn is not None and frame.path not in self._not_drawn:
            try:
                self._write_drawn(frame, drawn, stem)
            except DataError as problem:
                self._not_drawn.add(frame.path)
                self._on_problem(problem)

    def _write_drawn(self, frame: Frame, drawn: Image, stem: str) -> None:
        if frame.video is None:
            write_image(self._folder / drawn_name(frame.path, stem), drawn)
            return
        if frame.path not in self._videos:
            if not frame.is_live:  # files come one after the other, streams at the same time
                self._finish_videos()
            fps = frame.video.fps / self._settings.vid_stride
            size_hw = (drawn.shape[0], drawn.shape[1])
            self._videos[frame.path] = VideoWriter(self._folder / f"{stem}.mp4", fps=fps, size_hw=size_hw)
        self._videos[frame.path].write(drawn)

    def _finish_videos(self) -> None:
        while self._videos:
            try:
                self._videos.popitem()[1].close()
            except DataError as problem:
                self._on_problem(problem)

    def _write_crops(self, frame: Frame, detections: Detections, stem: str) -> None:
        for number, (box, class_id) in enumerate(zip(detections.boxes, detections.class_ids, strict=True), start=1):
            piece = crop(frame.pixels, box)
            if piece.size == 0:
                continue
            folder = self._below("crops", folder_name(self._names[class_id], int(class_id)))
            name = f"{stem}_{number}" if frame.is_live else self._claimed.claim(folder.name, stem)
            write_image(folder / f"{name}.jpg", piece)

    def _write_map(self, feature_map: FeatureMap, stem: str) -> None:
        name = f"row{feature_map.row:02}_{feature_map.kind}"
        folder = self._below("features", stem)
        write_image(folder / f"{name}.png", draw_feature_maps(feature_map.values))
        data = io.BytesIO()
        np.save(data, feature_map.values, allow_pickle=False)
        write_bytes_atomic(folder / f"{name}.npy", data.getvalue())

    def _below(self, *names: str) -> Path:
        folder = self._folder.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _stem(self, path: Path) -> str:
        """A stem that no other file of this run has."""
        if path not in self._stems:
            self._stems[path] = self._claimed.claim("", path.stem)
        return self._stems[path]


class Names:
    """Gives out unique names per folder; case is ignored, as some file systems do."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()
        self._numbers: Counter[tuple[str, str]] = Counter()

    def claim(self, parent: str, wanted: str) -> str:
        """`wanted`, or `wanted_2`, `wanted_3`, ... if that is taken."""
        name = wanted
        while (parent, name.casefold()) in self._taken:
            self._numbers[parent, wanted] += 1
            name = f"{wanted}_{self._numbers[parent, wanted] + 1}"
        self._taken.add((parent, name.casefold()))
        return name


def _too_large_to_draw(frame: Frame) -> DataError:
    height, width = frame.size_hw
    return DataError(
        f"image `{frame.shown}` of {width} x {height} pixels is too large to be drawn or cropped",
        hint=f"`--max-pixels {height * width}` would allow it",
    )


def label_lines(detections: Detections, *, size_hw: Sequence[int], save_conf: bool, corners: bool = False) -> str:
    """One line `class x y w h` per detection, centre and size as fractions of the image; then the score if wanted, and
    the id of an object that is followed.

    With `corners`, the line is `class x1 y1 x2 y2`, left, top, right and bottom in pixels. Numbers have six significant
    digits.

    >>> found = Detections(np.array([[0, 0, 50, 20]], np.float32), np.array([0.5], np.float32), np.array([3]))
    >>> label_lines(found, size_hw=(40, 100), save_conf=True)
    '3 0.25 0.25 0.5 0.5 0.5\\n'
    >>> label_lines(found, size_hw=(40, 100), save_conf=False, corners=True)
    '3 0 0 50 20\\n'
    """
    height, width = size_hw
    fractions = xyxy_to_cxcywh(detections.boxes) / np.array([width, height, width, height], np.float32)
    boxes: npt.NDArray[Any] = detections.boxes if corners else fractions
    columns: list[npt.NDArray[Any]] = [boxes, detections.scores[:, None]] if save_conf else [boxes]
    ids = [[]] * len(detections) if detections.object_ids is None else detections.object_ids[:, None].tolist()
    lines = [
        " ".join([str(int(class_id)), *(f"{value:g}" for value in row), *map(str, tail)])
        for class_id, row, tail in zip(detections.class_ids, np.concatenate(columns, axis=1).tolist(), ids, strict=True)
    ]
    return "".join(f"{line}\n" for line in lines)
