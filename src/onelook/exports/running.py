"""An exported detector that runs: pads batches, and gives predictions in the one form that all back ends share.

Letters: B images, H, W pixels, N boxes of an image, K classes, A anchors per cell.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from onelook.errors import ModelError
from onelook.exports.layouts import WIDTH_OF_DETECTIONS, from_channels_first, from_detections, from_undecoded
from onelook.exports.metadata import Metadata
from onelook.exports.plan import Images
from onelook.models.decoding import Decoding, decoded
from onelook.models.heads import NUM_BOX_OUTPUTS

CPU = torch.device("cpu")
RUN_ERRORS = (RuntimeError, ValueError, LookupError, TypeError)


class ExportedModel:
    """A `Backend` around a run time; threads may share it.

    Args:
        run: images, contiguous and in main memory, to the first output: predictions in the layout of the metadata, or
            detections (B, n, 6) if there is NMS inside, or the raw maps as a list. Several threads may call it at the
            same time: see `one_at_a_time`.
    """

    def __init__(self, metadata: Metadata, run: Callable[[Images], Images | Sequence[Images]], *, label: str) -> None:
        self.metadata = metadata
        self.names = metadata.names
        self.num_classes = len(metadata.names)
        self.stride = metadata.stride
        self.map_strides = metadata.map_strides
        self.device = CPU
        self.frame_hw = metadata.frame_hw
        self.max_batch = metadata.batch
        self.imgsz = metadata.imgsz
        self.thresholds = metadata.thresholds
        self.needs_nms = metadata.needs_nms
        self._run = run
        self._label = label

    def predict(self, images: Tensor) -> Tensor:
        """Decoded predictions, see `Backend.predict`.

        Raises:
            ModelError: the file does not take these images, or does not give what its metadata promises.
        """
        count = len(images)
        if count == 0:
            return torch.zeros(0, 0, NUM_BOX_OUTPUTS + self.num_classes)
        given = images.cpu().contiguous().numpy()
        if self.max_batch is not None and count < self.max_batch:
            given = np.concatenate([given, np.zeros((self.max_batch - count, *given.shape[1:]), np.float32)])
        try:
            predictions = self._predictions(given)
        except RUN_ERRORS as problem:
            raise ModelError(
                f"exported model `{self._label}` fails on images {given.shape}: {' '.join(str(problem).split())[:300]}",
                hint="export the checkpoint again",
            ) from problem
        return predictions[:count]

    def _predictions(self, images: Images) -> Tensor:
        output, decoding, layout = self._run(images), self.metadata.decoding, self.metadata.layout
        if decoding is not None and layout == "rows":
            table = predictions_of(list(output), decoding, self.num_classes)
        else:
            table = torch.from_numpy(np.asarray(output, np.float32))
        is_detections = layout == "end-to-end" or self.thresholds is not None
        width = WIDTH_OF_DETECTIONS if is_detections else NUM_BOX_OUTPUTS + self.num_classes
        if layout == "channels-first":
            width, table = width - 1, table.transpose(1, 2) if table.ndim == 3 else table
        if table.ndim != 3 or table.shape[2] != width or len(table) != len(images):
            raise ValueError(f"it gives {tuple(table.shape)}, expected {len(images)} x boxes x {width}")
        if is_detections:
            return from_detections(table, self.num_classes)
        if layout == "channels-first":
            return from_channels_first(table.transpose(1, 2))
        if layout == "yolox":
            assert decoding is not None, "checked when the metadata was read"
            return from_undecoded(table, decoding.strides, (images.shape[2], images.shape[3]))
        return table


def one_at_a_time(run: Callable[[Images], Images]) -> Callable[[Images], Images]:
    """`run`, for a run time that keeps images and answers in one buffer: threads wait for each other."""
    lock = threading.Lock()

    def run_alone(images: Images) -> Images:
        with lock:
            return run(images)

    return run_alone


def predictions_of(flat_maps: Sequence[Images], decoding: Decoding, num_classes: int) -> Tensor:
    """Predictions (B, N, 5 + K) of raw maps (B, A * outputs, H, W)."""
    raw_maps = []
    width = decoding.outputs_before_classes + num_classes
    for flat in flat_maps:
        # (B, A * outputs, H, W) -> (B, A, outputs, H, W) -> (B, A, H, W, outputs)
        raw = torch.from_numpy(flat).reshape(len(flat), decoding.boxes_per_cell, -1, *flat.shape[2:])
        raw_maps.append(raw.permute(0, 1, 3, 4, 2)[..., :width])  # what follows is for masks
        if raw_maps[-1].shape[-1] != width:
            raise ValueError(f"a map has {raw.shape[2]} outputs per box for {num_classes} classes")
    return decoded(raw_maps, decoding)
