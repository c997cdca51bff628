"""What one pass over a split has found so far in this process, and how that of all processes is put together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onelook.errors import counted
from onelook.models.detector import Branch
from onelook.processes.process_group import ProcessGroup
from onelook.structures.batch import ImageInfo
from onelook.structures.detections import Detections


class PassResults:
    """What one pass has found so far in this process."""

    def __init__(self, group: ProcessGroup, *, num_terms: int) -> None:
        self._group = group
        self._num_terms = num_terms
        self.num_images = 0
        self._detections: dict[Branch, dict[int, Detections]] = {}
        self._losses: list[list[float]] = []
        self._seconds = dict.fromkeys(("load", "inference", "nms", "metrics"), 0.0)
        self._mark = time.perf_counter()

    def lap(self, name: str) -> None:
        """Count the time since the last call as that of `name`."""
        now = time.perf_counter()
        self._seconds[name] += now - self._mark
        self._mark = now
        self._group.beat(f"in a validation, after {counted(self.num_images, 'image')}")

    def add_losses(self, sums: list[float]) -> None:
        """Note the losses of the next batch, summed over its images."""
        self._losses.append(sums)

    def add_detections(self, branch: Branch, rows: Sequence[Tensor], infos: Sequence[ImageInfo]) -> None:
        """Note what a branch has found in the images of a batch."""
        found = self._detections.setdefault(branch, {})
        for info, row in zip(infos, rows, strict=True):
            found[info.index] = to_original(row, info)

    def milliseconds(self) -> dict[str, float]:
        """Per image of this process."""
        return {name: 1000 * seconds / max(self.num_images, 1) for name, seconds in self._seconds.items()}

    def of_all(self, num_images: int) -> tuple[dict[Branch, tuple[Detections, ...]], list[float]]:
        """Detections of each branch in the order of the index, and mean losses, of all processes together.

        Losses are added up in the order of the batches, so that the sum does not depend on who computed them.
        """
        merged, seen = {}, 0
        for branch in self._branches():
            merged[branch], seen = self._merged(self._detections.get(branch, {}), num_images)
        by_process = self._group.gather_rows(
            torch.tensor(self._losses, dtype=torch.float64).reshape(len(self._losses), self._num_terms)
        )
        total = np.zeros(self._num_terms)
        for number in range(max(len(losses) for losses in by_process)):
            for losses in by_process:
                total += losses[number].numpy() if number < len(losses) else 0.0
        means: list[float] = (total / max(seen, 1)).tolist()
        return merged, means

    def _branches(self) -> list[Branch]:
        """Those that any process has seen: one without images knows of none."""
        known: tuple[Branch, ...] = get_args(Branch)
        own = torch.tensor([[branch in self._detections for branch in known]], dtype=torch.int64)
        seen = torch.cat(self._group.gather_rows(own)).any(dim=0).tolist()
        return [branch for branch, is_seen in zip(known, seen, strict=True) if is_seen] or [known[0]]

    def _merged(self, detections: Mapping[int, Detections], num_images: int) -> tuple[tuple[Detections, ...], int]:
        """Those of all processes, in the order of the index, and of how many images."""
        numbers = torch.tensor([[image, len(found)] for image, found in detections.items()], dtype=torch.int64)
        rows = [_row(found) for found in detections.values()]
        flat = torch.from_numpy(np.concatenate([np.zeros((0, 6), np.float32), *rows]))
        merged = [Detections.empty()] * num_images
        seen = 0
        for pairs, found in zip(
            self._group.gather_rows(numbers.reshape(-1, 2)), self._group.gather_rows(flat), strict=True
        ):
            parts = torch.split(found, pairs[:, 1].tolist())
            for image, part in zip(pairs[:, 0].tolist(), parts, strict=True):
                merged[image] = _detections(part)
            seen += len(pairs)
        return tuple(merged), seen


def to_original(rows: Tensor, info: ImageInfo) -> Detections:
    """Detections in pixels of the original image, from (n, 6) rows x1, y1, x2, y2, score, class of the batch image."""
    values = rows.cpu().numpy()
    gain = np.array([*info.gain_xy, *info.gain_xy], np.float32)
    pad = np.array([*info.pad_xy, *info.pad_xy], np.float32)
    height, width = info.size_hw
    boxes = (values[:, :4] - pad) / gain
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    return Detections(boxes.astype(np.float32), values[:, 4].astype(np.float32), values[:, 5].astype(np.int64))


def _row(found: Detections) -> npt.NDArray[np.float32]:
    """(n, 6) x1, y1, x2, y2, score, class; class numbers are small enough to be exact."""
    return np.column_stack([found.boxes, found.scores, found.class_ids.astype(np.float32)])


def _detections(rows: Tensor) -> Detections:
    values = rows.cpu().numpy()
    return Detections(values[:, :4].copy(), values[:, 4].copy(), values[:, 5].astype(np.int64))
