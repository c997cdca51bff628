"""What a detection run gives, frame by frame and in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.inference.sources.live import LiveCount
from onelook.structures.detections import Detections, rows_of


@dataclass(frozen=True)
class FrameResult:
    """What was found in one image or one frame of a video.

    Attributes:
        path: the image or video; of a live source what its files are called.
        place: where it is from, for people: the path, a web address, `camera 0`.
        number: position in the video, from 0; None for an image.
        num_frames: frames of the video, as far as it says; None for an image, 0 for a live source.
        detections: boxes in pixels.
        milliseconds: time of the network and NMS, this frame's share of its batch.
        file_number: number of the file among those of the run, from 1; 0 for a live source.
        num_files: number of files; 0 for live sources.
        dropped: frames of a live source that were dropped so far; None for a file.
    """

    path: Path
    place: str
    number: int | None
    num_frames: int | None
    size_hw: tuple[int, int]
    detections: Detections
    names: tuple[str, ...]
    milliseconds: float
    file_number: int = 0
    num_files: int = 0
    dropped: int | None = None


@dataclass(frozen=True)
class DetectResult:
    """What a detection run gives.

    Attributes:
        frames: one entry per image and per frame, in order; of live sources the last 1000.
        run_folder: where the files are; None if none were asked for.
        problems: files and live sources that could not be used or broke off, each with the reason.
        milliseconds: per frame: "wait for images", "predict", "write". These overlap in time.
        frames_per_second: frames per second over the whole run.
        live: what happened to each live source.
        inference_files: what `update` wrote, or the weights that hold no training state.
    """

    frames: tuple[FrameResult, ...]
    num_frames: int
    names: tuple[str, ...]
    run_folder: Path | None
    problems: tuple[str, ...]
    milliseconds: dict[str, float]
    frames_per_second: float
    live: tuple[LiveCount, ...] = ()
    inference_files: tuple[Path, ...] = ()


def described(detections: Detections, names: Sequence[str]) -> list[dict[str, Any]]:
    """Each detection as plain values: class, score, corners in pixels, and the id of its object if it is followed."""
    return [
        {"class_id": class_id, "class": names[class_id], "score": score, "box_xyxy": box}
        | ({} if object_id is None else {"object_id": object_id})
        for box, score, class_id, object_id in rows_of(detections)
    ]
