"""Runs a model over a split and measures what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onelook.engine.stop_signal import StopSignal
from onelook.geometry.nms import non_max_suppression
from onelook.losses.detection_loss import DetectionLoss
from onelook.metrics.detection_metrics import evaluate
from onelook.models.detector import DetectionModel
from onelook.structures.batch import Batch, ImageInfo
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections
from onelook.structures.metrics import DetectionMetrics


@dataclass(frozen=True)
class EvaluationSettings:
    """What counts as a detection.

    Attributes:
        conf_thres: least score.
        iou_thres: overlap above which the weaker of two boxes of a class is dropped.
        max_det: most detections per image.
        agnostic: whether boxes of different classes suppress each other.
        amp: type of mixed-precision arithmetic in the forward pass, or None.
    """

    conf_thres: float = 0.001
    iou_thres: float = 0.6
    max_det: int = 300
    agnostic: bool = False
    amp: torch.dtype | None = None


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one pass over a split.

    Attributes:
        metrics: the numbers.
        losses: box, obj and cls terms, mean over images; None if no loss was given.
        milliseconds: per image: "load", "inference", "nms", "metrics".
        detections: one entry per image of the index, in its order.
    """

    metrics: DetectionMetrics
    losses: tuple[float, float, float] | None
    milliseconds: dict[str, float]
    detections: tuple[Detections, ...]


class Evaluator:
    """Evaluates models on one split, again and again.

    Args:
        index: the split; truth is taken from here, exact to the label files.
        loader: gives the batches of one pass.
        num_classes: of the model.
        settings: thresholds.
    """

    def __init__(
        self,
        index: DatasetIndex,
        loader: Callable[[], Iterable[Batch]],
        *,
        num_classes: int,
        settings: EvaluationSettings,
    ) -> None:
        self._index = index
        self._loader = loader
        self._num_classes = num_classes
        self._settings = settings
        self._truths = [index.ground_truth(image) for image in range(len(index))]

    @torch.inference_mode()
    def run(
        self,
        model: DetectionModel,
        *,
        loss: DetectionLoss | None = None,
        stop: StopSignal | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> Evaluation:
        """Evaluate `model`, which must be in evaluation mode.

        Args:
            model: moved nowhere; batches follow its device.
            loss: also measured, on the raw maps.
            stop: asked after every batch.
            on_batch: told how many images are done.

        Raises:
            StopRequested: `stop` was set.
        """
        found: list[Detections] = [Detections.empty()] * len(self._index)
        loss_sums = np.zeros(3)
        seconds = dict.fromkeys(("load", "inference", "nms", "metrics"), 0.0)
        done = 0
        mark = time.perf_counter()
        for batch in self._loader():
            mark = _lap(seconds, "load", mark)
            raw_maps = self._forward(model, batch)
            if loss is not None:
                terms = loss(raw_maps, batch.targets)
                items = torch.stack([terms.box, terms.obj, terms.cls]).cpu().numpy()
                loss_sums += items * len(batch.infos)
            predictions = model.decode(raw_maps)
            mark = _lap(seconds, "inference", mark)
            rows = self._suppress(predictions)
            for info, row in zip(batch.infos, rows, strict=True):
                found[info.index] = to_original(row, info)
            done += len(batch.infos)
            mark = _lap(seconds, "nms", mark)
            if stop is not None:
                stop.check()
            if on_batch is not None:
                on_batch(done)
        metrics = evaluate(self._truths, found, num_classes=self._num_classes, max_det=self._settings.max_det)
        _lap(seconds, "metrics", mark)
        losses = tuple((loss_sums / max(done, 1)).tolist()) if loss is not None else None
        milliseconds = {name: 1000 * value / max(done, 1) for name, value in seconds.items()}
        return Evaluation(metrics, losses, milliseconds, tuple(found))

    def _forward(self, model: DetectionModel, batch: Batch) -> list[Tensor]:
        device = next(model.parameters()).device
        images = prepare_images(batch.images, device)
        with torch.autocast(device.type, dtype=self._settings.amp, enabled=self._settings.amp is not None):
            return model(images)  # type: ignore[no-any-return]

    def _suppress(self, predictions: Tensor) -> Sequence[Tensor]:
        return non_max_suppression(
            predictions,
            conf_thres=self._settings.conf_thres,
            iou_thres=self._settings.iou_thres,
            max_det=self._settings.max_det,
            multi_label=True,
            agnostic=self._settings.agnostic,
        )


def prepare_images(images: Tensor, device: torch.device) -> Tensor:
    """(B, 3, H, W) uint8 to float32 from 0 to 1 on `device`, channels last in memory."""
    moved = images.to(device, non_blocking=True)
    return moved.to(torch.float32, memory_format=torch.channels_last).div_(255)


def to_original(rows: Tensor, info: ImageInfo) -> Detections:
    """Detections in pixels of the original image, from (n, 6) rows x1, y1, x2, y2, score, class of the batch image."""
    values = rows.cpu().numpy()
    gain = np.array([*info.gain_xy, *info.gain_xy], np.float32)
    pad = np.array([*info.pad_xy, *info.pad_xy], np.float32)
    height, width = info.size_hw
    boxes = (values[:, :4] - pad) / gain
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    return Detections(boxes.astype(np.float32), values[:, 4].astype(np.float32), values[:, 5].astype(np.int64))


def _lap(seconds: dict[str, float], name: str, mark: float) -> float:
    now = time.perf_counter()
    seconds[name] += now - mark
    return now
