"""Writes what a detection run found: drawn pictures and videos, text labels, one CSV, one JSON, crops."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.callbacks.plots.drawing import draw_detections
from onelook.data.media import VideoWriter
from onelook.engine.sources import Frame
from onelook.files.atomic import write_text_atomic
from onelook.files.bounded import printable
from onelook.files.images import write_image
from onelook.geometry.boxes import xyxy_to_cxcywh, xyxy_to_xywh
from onelook.settings.detect import DetectSettings
from onelook.structures.detections import Detections

Image = npt.NDArray[np.uint8]

CSV_COLUMNS = ("file", "frame", "class_id", "class", "score", "x1", "y1", "x2", "y2")
CROP_GAIN = 1.02
CROP_BORDER_PX = 10
MAX_FOLDER_NAME = 100
_WRITABLE = {".mpo": ".jpg"}


class DetectionFiles:
    """Files of one detection run; use as a context manager, CSV and JSON are written at its end.

    Files with the same stem from different folders get `_2`, `_3`, ... behind it, so that none replaces another.

    Args:
        folder: the run folder.
        settings: which files to write, and how to draw.
        names: class names.
    """

    def __init__(self, folder: Path, settings: DetectSettings, names: Sequence[str]) -> None:
        self._folder = folder
        self._settings = settings
        self._names = names
        self._stems: dict[Path, str] = {}
        self._claimed = _Names()
        self._rows: list[dict[str, Any]] = []
        self._video: tuple[Path, VideoWriter] | None = None

    @staticmethod
    def are_wanted(settings: DetectSettings) -> bool:
        """Whether the settings ask for any file at all."""
        others = (settings.save_txt, settings.save_csv, settings.save_json, settings.save_crop)
        return not settings.nosave or any(others)

    def write(self, frame: Frame, detections: Detections) -> None:
        """Write or remember everything about one frame."""
        settings = self._settings
        stem = self._stem(frame.path)
        frame_stem = stem if frame.video is None else self._claimed.claim("", f"{stem}_{frame.number}")
        if settings.save_txt:
            lines = label_lines(detections, size_hw=frame.image.shape[:2], save_conf=settings.save_conf)
            write_text_atomic(self._below("labels") / f"{frame_stem}.txt", lines)
        if settings.save_csv or settings.save_json:
            self._rows += _rows(frame, detections, self._names)
        if settings.save_crop:
            self._write_crops(frame, detections, frame_stem)
        if not settings.nosave:
            self._write_picture(frame, detections, stem)

    def close(self) -> None:
        """Finish the video that is being written, then write CSV and JSON."""
        self._finish_video()
        if self._settings.save_csv:
            write_text_atomic(self._folder / "predictions.csv", _csv_text(self._rows))
        if self._settings.save_json:
            write_text_atomic(self._folder / "predictions.json", _json_text(self._rows))

    def __enter__(self) -> DetectionFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_picture(self, frame: Frame, detections: Detections, stem: str) -> None:
        drawn = draw_detections(
            frame.image,
            detections.boxes,
            detections.class_ids,
            detections.scores,
            self._names,
            line_thickness=self._settings.line_thickness or None,
            hide_labels=self._settings.hide_labels,
            hide_conf=self._settings.hide_conf,
        )
        if frame.video is None:
            suffix = _WRITABLE.get(frame.path.suffix.lower(), frame.path.suffix)
            write_image(self._folder / f"{stem}{suffix}", drawn)
            return
        if self._video is None or self._video[0] != frame.path:
            self._finish_video()
            fps = frame.video.fps / self._settings.vid_stride
            size_hw = (drawn.shape[0], drawn.shape[1])
            self._video = (frame.path, VideoWriter(self._folder / f"{stem}.mp4", fps=fps, size_hw=size_hw))
        self._video[1].write(drawn)

    def _finish_video(self) -> None:
        if self._video is not None:
            self._video[1].close()
            self._video = None

    def _write_crops(self, frame: Frame, detections: Detections, stem: str) -> None:
        for box, class_id in zip(detections.boxes, detections.class_ids, strict=True):
            piece = crop(frame.image, box)
            if piece.size == 0:
                continue
            folder = self._below("crops", folder_name(self._names[class_id], int(class_id)))
            write_image(folder / f"{self._claimed.claim(folder.name, stem)}.jpg", piece)

    def _below(self, *names: str) -> Path:
        folder = self._folder.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _stem(self, path: Path) -> str:
        """A stem that no other file of this run has."""
        if path not in self._stems:
            self._stems[path] = self._claimed.claim("", path.stem)
        return self._stems[path]


class _Names:
    """Hands out each name once per place; upper and lower case count as the same, as on some systems."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()
        self._numbers: Counter[tuple[str, str]] = Counter()

    def claim(self, place: str, wanted: str) -> str:
        """`wanted`, or `wanted_2`, `wanted_3`, ... if that is taken."""
        name = wanted
        while (place, name.casefold()) in self._taken:
            self._numbers[place, wanted] += 1
            name = f"{wanted}_{self._numbers[place, wanted] + 1}"
        self._taken.add((place, name.casefold()))
        return name


def label_lines(detections: Detections, *, size_hw: Sequence[int], save_conf: bool) -> str:
    """One line `class x y w h` per detection, centre and size as fractions of the picture; the score last if wanted.

    Numbers have six significant digits.

    >>> found = Detections(np.array([[0, 0, 50, 20]], np.float32), np.array([0.5], np.float32), np.array([3]))
    >>> label_lines(found, size_hw=(40, 100), save_conf=True)
    '3 0.25 0.25 0.5 0.5 0.5\\n'
    """
    height, width = size_hw
    boxes = xyxy_to_cxcywh(detections.boxes) / np.array([width, height, width, height], np.float32)
    columns: list[npt.NDArray[Any]] = [boxes, detections.scores[:, None]] if save_conf else [boxes]
    lines = [
        " ".join([str(int(class_id)), *(f"{value:g}" for value in row)])
        for class_id, row in zip(detections.class_ids, np.concatenate(columns, axis=1).tolist(), strict=True)
    ]
    return "".join(f"{line}\n" for line in lines)


def crop(image: Image, box_xyxy: npt.NDArray[Any]) -> Image:
    """The part of a picture within a box, 2 % larger and with a border of 10 px in all, as far as the picture goes.

    Args:
        image: (H, W, 3).
        box_xyxy: (4,) pixels.
    """
    x, y, width, height = xyxy_to_cxcywh(np.asarray(box_xyxy, np.float64)).tolist()
    half_width, half_height = (width * CROP_GAIN + CROP_BORDER_PX) / 2, (height * CROP_GAIN + CROP_BORDER_PX) / 2
    top, bottom = max(0, int(y - half_height)), max(0, int(y + half_height))
    left, right = max(0, int(x - half_width)), max(0, int(x + half_width))
    return image[top:bottom, left:right]


def folder_name(class_name: str, class_id: int) -> str:
    """A class name as the name of one folder: what could lead elsewhere or upset a system becomes `_`.

    >>> folder_name("../traffic light", 9), folder_name("", 2)
    ('.._traffic light', 'class2')
    """
    safe = "".join(c if c.isprintable() and c not in '<>:"/\\|?*' else "_" for c in class_name)
    safe = safe.strip().rstrip(".")[:MAX_FOLDER_NAME]
    return safe if safe.strip(".") else f"class{class_id}"


def _rows(frame: Frame, detections: Detections, names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "file": printable(frame.path),
            "frame": None if frame.video is None else frame.number,
            "class_id": int(class_id),
            "class": names[class_id],
            "score": round(score, 5),
            "box_xyxy": box,
        }
        for box, score, class_id in zip(
            detections.boxes.tolist(), detections.scores.tolist(), detections.class_ids.tolist(), strict=True
        )
    ]


def _csv_text(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        head = [_harmless(row["file"]), row["frame"], row["class_id"], _harmless(row["class"]), row["score"]]
        writer.writerow([*head, *(f"{value:.3f}" for value in row["box_xyxy"])])
    return text.getvalue()


def _harmless(cell: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _json_text(rows: Sequence[dict[str, Any]]) -> str:
    """A list of detections: `bbox` is left, top, width, height in pixels, as in COCO's result files."""
    entries = []
    for row in rows:
        left, top, width, height = xyxy_to_xywh(np.array(row["box_xyxy"])).tolist()
        entry = {"file_name": row["file"], "category_id": row["class_id"], "category_name": row["class"]}
        if row["frame"] is not None:
            entry["frame"] = row["frame"]
        entry["bbox"] = [round(value, 3) for value in (left, top, width, height)]
        entries.append({**entry, "score": row["score"]})
    return json.dumps(entries, indent=1) + "\n"
