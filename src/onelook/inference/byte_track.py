"""Objects over time: gives the detections of one video ids that stay the same from frame to frame.

"ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (Zhang et al., ECCV 2022, arXiv 2110.06864): what
moves is predicted by a Kalman filter; confident detections are matched to it first, the others only then, to what is
left, so that an object that is hidden for a while keeps its id. We differ: objects of different classes are never
matched, and the confidence that begins a track is that of the user.

Letters: T tracks, N detections.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from onelook.geometry.assignment import best_pairs
from onelook.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from onelook.geometry.iou import box_iou
from onelook.structures.detections import Detections, chosen

Floats = npt.NDArray[np.float64]

LOW_CONFIDENCE = 0.1
"""Minimum confidence of detections that continue a track but start none."""
KEPT_FRAMES = 30
"""Frames for which an object may be hidden and still keep its id."""
MIN_IOU, MIN_IOU_WEAK, MIN_IOU_NEW = 0.2, 0.5, 0.3
# Standard deviations of position and speed per frame, as shares of the height; those of the aspect ratio are absolute.
_POSITION, _SPEED = 1 / 20, 1 / 160
_ASPECT, _ASPECT_SPEED, _ASPECT_SEEN = 1e-2, 1e-5, 1e-1


@dataclass(frozen=True)
class _Tracks:
    """T objects: for centre x, centre y, aspect ratio and height a filter each, as their noise is independent.

    Attributes:
        positions, speeds: (T, 4) pixels, and pixels a frame.
        covariance: (T, 4, 3) of position, of position with speed, of speed.
        class_ids, ids: (T,).
        missed: (T,) frames since it was last seen.
        is_new: (T,) seen in one frame only.
    """

    positions: Floats
    speeds: Floats
    covariance: Floats
    class_ids: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    missed: npt.NDArray[np.int64]
    is_new: npt.NDArray[np.bool_]

    def of(self, chosen: npt.NDArray[np.bool_]) -> _Tracks:
        return _Tracks(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def with_more(self, more: _Tracks) -> _Tracks:
        both = (np.concatenate([getattr(self, name), getattr(more, name)]) for name in self.__dataclass_fields__)
        return _Tracks(*both)

    def boxes(self) -> Floats:
        """(T, 4) xyxy, pixels."""
        x, y, aspect, height = self.positions.T
        height = np.maximum(height, 1e-3)
        return cxcywh_to_xyxy(np.stack([x, y, np.maximum(aspect, 1e-3) * height, height], axis=1))


class ByteTrack:
    """Follows the objects of one video; detections from `conf_thres` on begin tracks, weaker ones only continue one."""

    def __init__(self, conf_thres: float) -> None:
        self._conf_thres = conf_thres
        self._next_id = 1
        self._tracks = _begun(np.zeros((0, 4)), np.zeros(0, np.int64), first_id=1)
        self._has_begun = False

    def update(self, detections: Detections, *, frames: int = 1) -> Detections:
        """Those detections of the next frame that belong to an object, with its id.

        Args:
            detections: detections in the frame, down to `LOW_CONFIDENCE`.
            frames: since the last call, where some were dropped.
        """
        tracks = self._tracks
        for _ in range(min(frames, KEPT_FRAMES + 1)):
            tracks = _predicted(tracks)
        boxes = np.asarray(detections.boxes, np.float64)
        measured = _measured(boxes)
        is_usable = (measured[:, 3] > 0) & (measured[:, 2] > 0)
        is_strong = (detections.scores >= self._conf_thres) & is_usable
        owner = np.full(len(boxes), -1)  # number of the track of each detection
        is_free = np.ones(len(tracks.ids), bool)
        iou = box_iou(tracks.boxes(), boxes) if len(boxes) and len(is_free) else np.zeros((len(is_free), len(boxes)))
        iou[tracks.class_ids[:, None] != detections.class_ids[None]] = 0
        rounds = (
            (~tracks.is_new, is_strong, MIN_IOU),
            (~tracks.is_new & (tracks.missed <= frames), ~is_strong & is_usable, MIN_IOU_WEAK),
            (tracks.is_new, is_strong, MIN_IOU_NEW),
        )
        for may_match, are_candidates, least in rounds:
            rows, columns = np.flatnonzero(may_match & is_free), np.flatnonzero(are_candidates & (owner < 0))
            for row, column in best_pairs(iou[np.ix_(rows, columns)] - least):
                owner[columns[column]] = rows[row]
                is_free[rows[row]] = False
        seen = np.flatnonzero(owner >= 0)
        tracks = _corrected(tracks, owner[seen], measured[seen])
        kept = ~is_free | (~tracks.is_new & (tracks.missed <= KEPT_FRAMES))
        ids = np.where(owner >= 0, tracks.ids[owner] if len(tracks.ids) else 0, 0)
        begins = np.flatnonzero((owner < 0) & is_strong)
        new = _begun(measured[begins], detections.class_ids[begins], first_id=self._next_id)
        ids[begins] = new.ids
        self._next_id += len(begins)
        if not self._has_begun:  # nothing can have been seen before the first frame
            new = replace(new, is_new=np.zeros(len(begins), bool))
        self._has_begun = True
        self._tracks = tracks.of(kept).with_more(new)
        return chosen(replace(detections, object_ids=ids), ids > 0)


def _measured(boxes_xyxy: Floats) -> Floats:
    """(N, 4) centre x, centre y, aspect ratio, height."""
    x, y, width, height = xyxy_to_cxcywh(boxes_xyxy).T
    return np.stack([x, y, width / np.maximum(height, 1e-9), height], axis=1)


def _begun(measured: Floats, class_ids: npt.NDArray[np.int64], *, first_id: int) -> _Tracks:
    position, speed = 2 * _deviations(measured, _POSITION, _ASPECT), 10 * _deviations(measured, _SPEED, _ASPECT_SPEED)
    covariance = np.stack([position**2, np.zeros_like(position), speed**2], axis=2)
    count = len(measured)
    ids = np.arange(first_id, first_id + count)
    is_new = np.ones(count, bool)
    return _Tracks(measured, np.zeros((count, 4)), covariance, class_ids, ids, np.zeros(count, np.int64), is_new)


def _deviations(positions: Floats, share: float, aspect: float) -> Floats:
    """(T, 4) standard deviations: a share of the height, and that of the aspect ratio."""
    height = np.maximum(positions[:, 3:4], 1e-3) * share
    return np.concatenate([height, height, np.full_like(height, aspect), height], axis=1)


def _predicted(tracks: _Tracks) -> _Tracks:
    """The tracks a frame later; an object that is not seen keeps its size."""
    speeds = tracks.speeds.copy()
    speeds[tracks.missed > 0, 2:] = 0
    noise = (
        _deviations(tracks.positions, _POSITION, _ASPECT) ** 2,
        _deviations(tracks.positions, _SPEED, _ASPECT_SPEED) ** 2,
    )
    position, both, speed = np.moveaxis(tracks.covariance, 2, 0)
    covariance = np.stack([position + 2 * both + speed + noise[0], both + speed, speed + noise[1]], axis=2)
    positions, missed = tracks.positions + speeds, tracks.missed + 1
    return replace(tracks, positions=positions, speeds=speeds, covariance=covariance, missed=missed)


def _corrected(tracks: _Tracks, rows: npt.NDArray[np.int64], measured: Floats) -> _Tracks:
    """The tracks, those of `rows` with what was measured, (len(rows), 4)."""
    positions, speeds, covariance = tracks.positions.copy(), tracks.speeds.copy(), tracks.covariance.copy()
    missed, is_new = tracks.missed.copy(), tracks.is_new.copy()
    position, both, speed = np.moveaxis(covariance[rows], 2, 0)
    total = position + _deviations(positions[rows], _POSITION, _ASPECT_SEEN) ** 2
    error = measured - positions[rows]
    positions[rows] += position / total * error
    speeds[rows] += both / total * error
    covariance[rows] = np.stack(
        [position * (1 - position / total), both * (1 - position / total), speed - both**2 / total], 2
    )
    missed[rows], is_new[rows] = 0, False
    return replace(tracks, positions=positions, speeds=speeds, covariance=covariance, missed=missed, is_new=is_new)
