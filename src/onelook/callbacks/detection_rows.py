"""One CSV and one JSON of all detections of a run, written as they are found: a stream may last for days."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onelook.files.atomic import TEMPORARY_MARK, flush_folder
from onelook.geometry.boxes import xyxy_to_xywh
from onelook.inference.sources import Frame
from onelook.structures.coco_classes import category_ids
from onelook.structures.detections import Detections, rows_of

OBJECT_COLUMN = "object"
CSV_COLUMNS = ("file", "frame", "class_id", "class", "score", "x1", "y1", "x2", "y2")


class GrowingText:
    """A text file that is appended to, and appears under its name once it is complete.

    Raises:
        OSError: the disk is full or failing. Its `filename` is `path`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f"{path.name}{TEMPORARY_MARK}{os.getpid()}")
        self._file = self._temporary.open("w", encoding="utf-8", newline="")

    def append(self, text: str) -> None:
        """Add `text` at the end."""
        try:
            self._file.write(text)
        except OSError as problem:
            problem.filename = os.fspath(self._path)
            raise

    def close(self, end: str = "") -> None:
        """Add `end` and give the file its name."""
        try:
            with self._file:
                self._file.write(end)
                self._file.flush()
                os.fsync(self._file.fileno())
            self._temporary.replace(self._path)
            flush_folder(self._path.parent)
        except OSError as problem:
            self._temporary.unlink(missing_ok=True)
            problem.filename = os.fspath(self._path)
            raise


class CsvOfDetections:
    """`predictions.csv`: a line per detection; one more column for followed objects, empty in single images."""

    def __init__(self, path: Path, *, has_objects: bool = False) -> None:
        self._text = GrowingText(path)
        self._has_objects = has_objects
        self._text.append(",".join([*CSV_COLUMNS, *([OBJECT_COLUMN] if has_objects else [])]) + "\n")

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add the rows of a frame, see `detection_rows`."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in rows:
            head = [_harmless(row["file"]), row["frame"], row["class_id"], _harmless(row["class"]), row["score"]]
            tail = [row["object_id"]] if self._has_objects else []
            writer.writerow([*head, *(f"{value:.3f}" for value in row["box_xyxy"]), *tail])
        self._text.append(text.getvalue())

    def close(self) -> None:
        """Finish the file."""
        self._text.close()


class JsonOfDetections:
    """`predictions.json`: a list of detections, as COCO's result files have them.

    `bbox` is left, top, width, height in pixels; ids are those of `category_ids` and of the rows.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._category_ids = category_ids(names)
        self._text = GrowingText(path)
        self._before = "["

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add the rows of a frame, see `detection_rows`."""
        for row in rows:
            left, top, width, height = xyxy_to_xywh(np.array(row["box_xyxy"])).tolist()
            entry = {
                "image_id": row["image_id"],
                "file_name": row["file"],
                "category_id": self._category_ids[row["class_id"]],
                "category_name": row["class"],
            }
            if row["frame"] is not None:
                entry["frame"] = row["frame"]
            if row["object_id"] is not None:
                entry["object_id"] = row["object_id"]
            entry["bbox"] = [round(value, 3) for value in (left, top, width, height)]
            self._text.append(f"{self._before}\n {json.dumps({**entry, 'score': row['score']})}")
            self._before = ","

    def close(self) -> None:
        """Finish the file."""
        self._text.close("[]\n" if self._before == "[" else "\n]\n")


def detection_rows(
    frame: Frame, detections: Detections, names: Sequence[str], *, image_id: int | str
) -> list[dict[str, Any]]:
    """The detections of a frame as rows of plain values."""
    return [
        {
            "image_id": image_id,
            "file": frame.shown,
            "frame": None if frame.video is None else frame.number,
            "class_id": class_id,
            "class": names[class_id],
            "score": round(score, 5),
            "box_xyxy": box,
            "object_id": object_id,
        }
        for box, score, class_id, object_id in rows_of(detections)
    ]


def _harmless(cell: str) -> str:
    """`cell`, quoted if a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
