"""Runs a model over a split, in one process or shared out among many, and measures what it finds."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import TypeVar, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onelook.errors import MemoryShortage
from onelook.geometry.nms import non_max_suppression
from onelook.inference.backend import Backend, iou_threshold, predict_all
from onelook.inference.hybrid_labels import with_labels
from onelook.losses.protocol import FamilyLoss
from onelook.metrics.detection_metrics import evaluate
from onelook.models.detector import Branch, DetectionModel
from onelook.processes.memory import is_out_of_memory
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.structures.batch import Batch, ImageInfo
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections
from onelook.structures.metrics import DetectionMetrics, as_arrays, from_arrays

Part = TypeVar("Part")


Decoders = dict[Branch, Callable[[list[Tensor]], Tensor]]
"""What makes predictions of the outputs of a model, for each branch of its head."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What counts as a detection.

    Attributes:
        conf_thres: minimum confidence.
        iou_thres: overlap above which the weaker of two boxes of a class is dropped.
        agnostic: whether NMS goes across classes.
        amp: type of mixed-precision arithmetic in the forward pass, or None.
        multi_label: every class of a box counts, and not only its best one.
        hybrid: labels count as detections of full certainty, which NMS keeps; the numbers are not the model's.
    """

    conf_thres: float = 0.001
    iou_thres: float = 0.6
    max_det: int = 300
    agnostic: bool = False
    amp: torch.dtype | None = None
    multi_label: bool = True
    hybrid: bool = False


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one pass over a split.

    Attributes:
        losses: terms of the loss by name, mean over images; empty if no loss was given.
        milliseconds: per image that this process has seen: "load", "inference", "nms", "metrics".
        detections: one entry per image of the index, in its order.
        branch: which branch of the head all this is about: of two, the one of higher fitness.
        by_branch: the numbers of each branch.
    """

    metrics: DetectionMetrics
    losses: dict[str, float]
    milliseconds: dict[str, float]
    detections: tuple[Detections, ...]
    branch: Branch = "many"
    by_branch: Mapping[Branch, DetectionMetrics] = field(default_factory=dict)


class Evaluator:
    """Evaluates models on one split, again and again.

    Args:
        index: the split; labels are taken from here, exact to the label files.
        loader: gives the batches of one pass: number r, r + W, r + 2 W and so on in process r of W.
        num_classes: of the model.
        settings: thresholds.
        group: the processes that share the work; the result is the same in all, and for any number of them.
    """

    def __init__(
        self,
        index: DatasetIndex,
        loader: Callable[[], Iterable[Batch]],
        *,
        num_classes: int,
        settings: EvaluationSettings,
        group: ProcessGroup | None = None,
    ) -> None:
        self._index = index
        self._loader = loader
        self._num_classes = num_classes
        self._settings = settings
        self._group = ProcessGroup() if group is None else group
        self._labels = [index.image_labels(image) for image in range(len(index))]

    def with_iou_thres(self, iou_thres: float) -> Evaluator:
        """The same with another threshold of NMS."""
        other = copy.copy(self)
        other._settings = replace(self._settings, iou_thres=iou_thres)
        return other

    @torch.inference_mode()
    def run(
        self,
        model: DetectionModel | Backend,
        *,
        loss: FamilyLoss | None = None,
        stop: StopSignal | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> Evaluation:
        """Evaluate `model`, which must be in evaluation mode and the same in all processes; of two branches, both.

        Args:
            model: moved nowhere; batches follow its device.
            loss: also measured, on the raw maps; for PyTorch models only.
            on_batch: told how many images this process has done.

        Raises:
            StopRequested: `stop` was set, here or in another process.
        """
        columns = loss.columns if loss is not None else ()
        found = _Found(self._group, num_terms=len(columns))
        for batch in self._loader():
            found.lap("load")
            if isinstance(model, DetectionModel):
                outputs = self._raw_maps(model, prepare_images(batch.images, next(model.parameters()).device))
                if loss is not None:
                    found.add_losses(_losses(loss, outputs, batch))
                decoders: Decoders = {one: partial(model.decode_branch, branch=one) for one in model.branches}
            else:
                outputs = self._predictions(model, prepare_images(batch.images, model.device))
                decoders = {"many" if model.needs_nms else "one": itemgetter(0)}
            if outputs[0].is_cuda:  # so that the time of the network is not that of NMS
                torch.cuda.synchronize(outputs[0].device)
            found.lap("inference")
            for branch, decode in decoders.items():
                found.add_detections(branch, self._detections(outputs, decode, batch, branch), batch.infos)
            found.lap("nms")
            if stop is not None and stop.requested:
                break
            if on_batch is not None:
                on_batch(found.num_images)
        self._group.rest()
        if stop is not None:
            self._group.check(stop)
        detections, losses = found.of_all(len(self._index))
        metrics = {branch: self._measure(rows) for branch, rows in detections.items()}
        best = max(metrics, key=lambda branch: metrics[branch].fitness)  # the first of equal ones
        found.lap("metrics")
        return Evaluation(
            metrics=metrics[best],
            losses=dict(zip(columns, losses, strict=True)),
            milliseconds=found.milliseconds(),
            detections=detections[best],
            branch=best,
            by_branch=metrics,
        )

    def _raw_maps(self, model: DetectionModel, images: Tensor) -> list[Tensor]:
        amp = self._settings.amp

        def forward(part: Tensor) -> list[Tensor]:
            with torch.autocast(part.device.type, dtype=amp, enabled=amp is not None):
                return model(part)  # type: ignore[no-any-return]

        parts = as_memory_allows(lambda first, last: forward(images[first:last]), len(images), images.shape)
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _predictions(self, backend: Backend, images: Tensor) -> list[Tensor]:
        return [
            torch.cat(
                as_memory_allows(
                    lambda first, last: predict_all(backend, images[first:last]), len(images), images.shape
                )
            )
        ]

    def _detections(
        self, outputs: Sequence[Tensor], decode: Callable[[list[Tensor]], Tensor], batch: Batch, branch: Branch
    ) -> list[Tensor]:
        """What is left of the boxes of every image of a batch after NMS, in main memory."""

        def of_part(first: int, last: int) -> list[Tensor]:
            predictions = decode([output[first:last] for output in outputs])
            if self._settings.hybrid:
                targets = batch.part(first, last).targets
                frame_hw = (batch.images.shape[2], batch.images.shape[3])
                predictions = with_labels(predictions, targets, frame_hw=frame_hw)
            rows = self._apply_nms(predictions, branch)
            return list(torch.split(torch.cat(list(rows)).cpu(), [len(found) for found in rows]))

        parts = as_memory_allows(of_part, len(batch.images), batch.images.shape)
        return [rows for part in parts for rows in part]

    def _apply_nms(self, predictions: Tensor, branch: Branch) -> Sequence[Tensor]:
        return non_max_suppression(
            predictions,
            conf_thres=self._settings.conf_thres,
            iou_thres=iou_threshold(self._settings.iou_thres, needs_nms=branch == "many"),
            max_det=self._settings.max_det,
            multi_label=self._settings.multi_label,
            agnostic=self._settings.agnostic,
        )

    def _measure(self, detections: Sequence[Detections]) -> DetectionMetrics:
        """The numbers, computed in process 0."""
        arrays: dict[str, Tensor] = {}
        if self._group.is_first:
            metrics = evaluate(self._labels, detections, num_classes=self._num_classes, max_det=self._settings.max_det)
            if self._group.world_size == 1:
                return metrics
            arrays = {name: torch.from_numpy(np.array(values)) for name, values in as_arrays(metrics).items()}
        return from_arrays({name: values.numpy() for name, values in self._group.share_tensors(arrays).items()})


def as_memory_allows(action: Callable[[int, int], Part], count: int, shape: Sequence[int]) -> list[Part]:
    """What `action` gives for the images of a batch from one number up to another: in one part, or halved again and
    again where memory does not suffice.

    Args:
        action: does something with the images from the first number up to, but without, the second.
        count: images.
        shape: (B, 3, H, W) of the batch, for the message.

    Raises:
        MemoryShortage: there is not enough memory for one image.
    """

    def of(first: int, last: int) -> list[Part]:
        try:
            return [action(first, last)]
        except (RuntimeError, MemoryError) as problem:
            if not is_out_of_memory(problem):
                raise
            reason = " ".join(str(problem).split())
        if last - first == 1:
            raise MemoryShortage(
                f"not enough memory to run the model on one image of {shape[3]} x {shape[2]} pixels: {reason}",
                hint="use a smaller `--imgsz` or a smaller model",
            )
        middle = (first + last + 1) // 2
        return of(first, middle) + of(middle, last)

    return of(0, count)


def _losses(loss: FamilyLoss, raw_maps: Sequence[Tensor], batch: Batch) -> list[float]:
    """The terms of the loss, summed over the images of a batch; of its parts, where memory is short."""

    def of_part(first: int, last: int) -> list[float]:
        terms = loss([raw_map[first:last] for raw_map in raw_maps], batch.part(first, last).targets, 1.0)
        return [item * (last - first) for item in terms.values.tolist()]

    parts = as_memory_allows(of_part, len(batch.images), batch.images.shape)
    return [sum(items) for items in zip(*parts, strict=True)]


class _Found:
    """What one pass has found so far in this process."""

    def __init__(self, group: ProcessGroup, *, num_terms: int) -> None:
        self._group = group
        self._num_terms = num_terms
        self._detections: dict[Branch, dict[int, Detections]] = {}
        self._losses: list[list[float]] = []
        self._seconds = dict.fromkeys(("load", "inference", "nms", "metrics"), 0.0)
        self._mark = time.perf_counter()

    @property
    def num_images(self) -> int:
        """Images done by this process."""
        return max((len(found) for found in self._detections.values()), default=0)

    def lap(self, name: str) -> None:
        """Count the time since the last call as that of `name`."""
        now = time.perf_counter()
        self._seconds[name] += now - self._mark
        self._mark = now
        self._group.beat(f"in a validation, after {self.num_images} images")

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


def _row(found: Detections) -> npt.NDArray[np.float32]:
    """(n, 6) x1, y1, x2, y2, score, class; class numbers are small enough to be exact."""
    return np.column_stack([found.boxes, found.scores, found.class_ids.astype(np.float32)])


def _detections(rows: Tensor) -> Detections:
    values = rows.cpu().numpy()
    return Detections(values[:, :4].copy(), values[:, 4].copy(), values[:, 5].astype(np.int64))
