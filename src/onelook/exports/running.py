"""An exported detector that runs: pads batches, and gives predictions in the one form that all back ends share.

Letters: B images, H, W pixels, N boxes of an image, K classes, A anchors per cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from onelook.errors import ModelError
from onelook.exports.metadata import Decoding, Metadata
from onelook.exports.plan import Pictures
from onelook.geometry.boxes import xyxy_to_cxcywh
from onelook.models.heads import NUM_BOX_OUTPUTS, decode_map

CPU = torch.device("cpu")


class ExportedModel:
    """A `Backend` around a run time.

    Args:
        metadata: of the file.
        run: pictures, contiguous and in main memory, to the first output: predictions (B, N, 5 + K), or detections
            (B, n, 6) if there is suppression inside, or, with `metadata.decoding`, the raw maps as a list.
        label: the file, for messages.
    """

    def __init__(
        self, metadata: Metadata, run: Callable[[Pictures], Pictures | Sequence[Pictures]], *, label: str
    ) -> None:
        self.metadata = metadata
        self.names = metadata.names
        self.num_classes = len(metadata.names)
        self.stride = metadata.stride
        self.map_strides = metadata.map_strides
        self.device = CPU
        self.frame_hw = metadata.frame_hw
        self.max_batch = metadata.batch
        self.thresholds = metadata.thresholds
        self._run = run
        self._label = label

    def predict(self, images: Tensor) -> Tensor:
        """Decoded predictions, see `Backend.predict`.

        Raises:
            ModelError: the file gives another shape than its metadata promises.
        """
        count = len(images)
        if count == 0:
            return torch.zeros(0, 0, NUM_BOX_OUTPUTS + self.num_classes)
        given = images.cpu().contiguous().numpy()
        if self.max_batch is not None and count < self.max_batch:
            given = np.concatenate([given, np.zeros((self.max_batch - count, *given.shape[1:]), np.float32)])
        output = self._run(given)
        if self.metadata.decoding is not None:
            predictions = decoded(list(output), self.metadata.decoding, self.num_classes)
        else:
            predictions = torch.from_numpy(np.asarray(output, np.float32))
            width = 6 if self.thresholds is not None else NUM_BOX_OUTPUTS + self.num_classes
            if predictions.ndim != 3 or predictions.shape[2] != width or len(predictions) != len(given):
                raise ModelError(
                    f"exported model `{self._label}` gives {tuple(predictions.shape)} for {len(given)} images",
                    hint=f"expected {len(given)} x boxes x {width}: export the checkpoint again",
                )
        predictions = predictions[:count]
        return predictions if self.thresholds is None else as_predictions(predictions, self.num_classes)


def decoded(raw_maps: Sequence[Pictures], decoding: Decoding, num_classes: int) -> Tensor:
    """Predictions (B, N, 5 + K) of raw maps (B, A * outputs, H, W)."""
    parts = []
    for raw, anchors, stride in zip(raw_maps, decoding.anchors, decoding.strides, strict=True):
        # (B, A * outputs, H, W) -> (B, A, outputs, H, W) -> (B, A, H, W, outputs)
        maps = torch.from_numpy(raw).reshape(len(raw), len(anchors), -1, *raw.shape[2:]).permute(0, 1, 3, 4, 2)
        used = maps[..., : NUM_BOX_OUTPUTS + num_classes]  # what follows is for masks
        parts.append(decode_map(used, torch.tensor(anchors), torch.tensor(stride)))
    return torch.cat(parts, dim=1)


def as_predictions(detections: Tensor, num_classes: int) -> Tensor:
    """Detections (B, n, 6) x1, y1, x2, y2, score, class as predictions (B, n, 5 + K) that stand for just these."""
    boxes = xyxy_to_cxcywh(detections[..., :4])
    classes = torch.nn.functional.one_hot(detections[..., 5].long(), num_classes)
    return torch.cat([boxes, detections[..., 4:5], classes.to(detections)], dim=-1)
