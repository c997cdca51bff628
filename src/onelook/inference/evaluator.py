"""Runs a model over a split, in one process or shared out among many, and measures what it finds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from onelook.errors import MemoryShortage
from onelook.geometry.nms import likely_rows, non_max_suppression
from onelook.inference.backend import Backend, Thresholds, iou_threshold, predict_all
from onelook.inference.hybrid_labels import with_labels
from onelook.inference.pass_results import PassResults
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

Forward = Callable[[Tensor], list[Tensor]]
"""Makes raw maps of (B, 3, H, W) images."""
Decoders = dict[Branch, Callable[[list[Tensor]], Tensor]]
"""What makes predictions of the outputs of a model, for each branch of its head."""


@dataclass(frozen=True)
class EvaluationSettings(Thresholds):
    """What counts as a detection.

    Attributes:
        amp: type of mixed-precision arithmetic in the forward pass, or None.
        multi_label: every class of a box counts, and not only its best one.
        hybrid: labels count as detections of full certainty, which NMS keeps; the numbers are not the model's.
    """

    conf_thres: float = 0.001
    iou_thres: float = 0.6
    max_det: int = 300
    amp: torch.dtype | None = None
    multi_label: bool = True
    hybrid: bool = False


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one pass over a split.

    Attributes:
        losses: terms of the loss by name, mean over images; empty if no loss was given.
        milliseconds: per image that this process has seen: "load", "inference", "nms", "metrics". What NMS does while
            the network runs on the next batch is no time of its own.
        detections: one entry per image of the index, in its order.
        branch: which branch of the head all this is about: of two, the one of higher fitness.
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
        group: the processes that share the work; the result is the same in all, and for any number of them.
        common_shapes: images, height and width (pixels) of the commonest batches of the split.
    """

    def __init__(
        self,
        index: DatasetIndex,
        loader: Callable[[], Iterable[Batch]],
        *,
        num_classes: int,
        settings: EvaluationSettings,
        group: ProcessGroup | None = None,
        common_shapes: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        self.common_shapes = common_shapes
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
        forward: Forward | None = None,
    ) -> Evaluation:
        """Evaluate `model`, which must be in evaluation mode and the same in all processes; of two branches, both.

        Args:
            model: moved nowhere; batches follow its device.
            loss: also measured, on the raw maps; for PyTorch models only.
            forward: gives the raw maps instead of `model` itself, which is of PyTorch then.

        Raises:
            StopRequested: `stop` was set, here or in another process.
        """
        columns = loss.columns if loss is not None else ()
        found = PassResults(self._group, num_terms=len(columns))
        with ThreadPoolExecutor(1, "NMS") as beside:  # while the network runs on the next batch
            self._pass(model, found, beside, loss=loss, stop=stop, forward=forward)
        self._group.rest()
        if stop is not None:
            self._group.check(stop)
        detections, losses = found.of_all(len(self._index))
        metrics = {branch: self._measure(rows) for branch, rows in detections.items()}
        best = max(metrics, key=lambda branch: metrics[branch].fitness)  # of ties, the first
        found.lap("metrics")
        return Evaluation(
            metrics=metrics[best],
            losses=dict(zip(columns, losses, strict=True)),
            milliseconds=found.milliseconds(),
            detections=detections[best],
            branch=best,
            by_branch=metrics,
        )

    def _pass(
        self,
        model: DetectionModel | Backend,
        found: PassResults,
        beside: Executor,
        *,
        loss: FamilyLoss | None,
        stop: StopSignal | None,
        forward: Forward | None,
    ) -> None:
        """Run on all batches; NMS and what follows it is done by `beside`, one batch later at most."""
        waiting: list[Future[None]] = []
        for batch in self._loader():
            found.lap("load")
            if isinstance(model, DetectionModel):
                images = prepare_images(batch.images, next(model.parameters()).device)
                outputs = self._raw_maps(model if forward is None else forward, images)
                if loss is not None:
                    found.add_losses(_losses(loss, outputs, batch))
                decoders: Decoders = {one: partial(model.decode_branch, branch=one) for one in model.branches}
            else:
                outputs = self._predictions(model, prepare_images(batch.images, model.device))
                decoders = {"many" if model.needs_nms else "one": itemgetter(0)}
            if outputs[0].is_cuda:  # so that the time of the network is not that of NMS
                torch.cuda.synchronize(outputs[0].device)
            found.lap("inference")
            likely = {branch: self._likely(outputs, decode, batch) for branch, decode in decoders.items()}
            for done in waiting:
                done.result()
            waiting = [
                beside.submit(self._settle, found, branch, rows, batch.images.shape, batch.infos)
                for branch, rows in likely.items()
            ]
            found.num_images += len(batch.infos)
            found.lap("nms")
            if stop is not None and stop.requested:
                break
        for done in waiting:
            done.result()
        found.lap("nms")

    def _raw_maps(self, forward: Forward, images: Tensor) -> list[Tensor]:
        amp = self._settings.amp

        def maps_of(part: Tensor) -> list[Tensor]:
            with torch.autocast(part.device.type, dtype=amp, enabled=amp is not None):
                return forward(part)

        parts = as_memory_allows(lambda first, last: maps_of(images[first:last]), images.shape)
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _predictions(self, backend: Backend, images: Tensor) -> list[Tensor]:
        def of_part(first: int, last: int) -> Tensor:
            return predict_all(backend, images[first:last])

        return [torch.cat(as_memory_allows(of_part, images.shape))]

    def _likely(
        self, outputs: Sequence[Tensor], decode: Callable[[list[Tensor]], Tensor], batch: Batch
    ) -> list[Tensor]:
        """Of every image of a batch the rows (n, 5 + K) that can be detections, in main memory."""

        def of_part(first: int, last: int) -> list[Tensor]:
            predictions = decode([output[first:last] for output in outputs])
            if self._settings.hybrid:
                targets = batch.part(first, last).targets
                frame_hw = (batch.images.shape[2], batch.images.shape[3])
                predictions = with_labels(predictions, targets, frame_hw=frame_hw)
            return likely_rows(predictions, self._settings.conf_thres)

        return [rows for part in as_memory_allows(of_part, batch.images.shape) for rows in part]

    @torch.inference_mode()  # which is a matter of each thread
    def _settle(
        self, found: PassResults, branch: Branch, likely: list[Tensor], shape: Sequence[int], infos: Sequence[ImageInfo]
    ) -> None:
        """Note what a branch has found in the images of a batch: what is left of their boxes after NMS."""
        parts = as_memory_allows(lambda first, last: self._apply_nms(likely[first:last], branch), shape)
        found.add_detections(branch, [rows for part in parts for rows in part], infos)

    def _apply_nms(self, likely: Sequence[Tensor], branch: Branch) -> Sequence[Tensor]:
        return non_max_suppression(
            likely,
            conf_thres=self._settings.conf_thres,
            iou_thres=iou_threshold(self._settings.iou_thres, needs_nms=branch == "many"),
            max_det=self._settings.max_det,
            multi_label=self._settings.multi_label,
            agnostic_nms=self._settings.agnostic_nms,
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


def as_memory_allows(action: Callable[[int, int], Part], shape: Sequence[int]) -> list[Part]:
    """What `action` gives for the images of a batch from one number up to another: in one part, or halved again and
    again where memory does not suffice.

    Args:
        shape: shape of the images, (B, 3, H, W).

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

    return of(0, shape[0])


def _losses(loss: FamilyLoss, raw_maps: Sequence[Tensor], batch: Batch) -> list[float]:
    """The terms of the loss, summed over the images of a batch; of its parts, where memory is short."""

    def of_part(first: int, last: int) -> list[float]:
        terms = loss([raw_map[first:last] for raw_map in raw_maps], batch.part(first, last).targets, 1.0)
        return [item * (last - first) for item in terms.values.tolist()]

    parts = as_memory_allows(of_part, batch.images.shape)
    return [sum(items) for items in zip(*parts, strict=True)]


def prepare_images(images: Tensor, device: torch.device) -> Tensor:
    """(B, 3, H, W) uint8 to float32 from 0 to 1 on `device`, channels last in memory."""
    moved = images.to(device, non_blocking=True)
    return moved.to(torch.float32, memory_format=torch.channels_last).div_(255)
