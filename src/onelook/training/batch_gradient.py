"""The gradient of one batch: forward, loss and backward, in as many micro-batches as the memory asks for."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

from onelook.errors import MemoryShortage, counted
from onelook.inference.evaluator import prepare_images
from onelook.losses.distillation import DistillationLoss
from onelook.processes.memory import is_out_of_memory
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.structures.batch import Batch
from onelook.training.batch_norm_statistics import SharedStatistics
from onelook.training.gradients import GradientSum, micro_batch_bounds
from onelook.training.network_passes import ComputeOptions, NetworkPasses
from onelook.training.schedule import Schedule, StepPlan
from onelook.training.state import TrainState
from onelook.training.teacher import Teacher

logger = logging.getLogger(__name__)

PURPOSE_SIZE = 0x512E


@dataclass(frozen=True)
class BatchLosses:
    """What a batch cost.

    Attributes:
        terms: (C,) float32 terms of the loss on the device: means over the images of the whole batch.
        imgsz: longest side of the images as the network saw them, pixels.
        is_stop_asked: whether any process was asked to stop.
    """

    terms: Tensor
    imgsz: int
    is_stop_asked: bool


class BatchGradient:
    """Adds the gradients of batches to `parameter.grad`: the same for any number of processes, see `gradients.py`.

    If memory runs out in any process, the batch is repeated in twice as many micro-batches, and so are all later ones.

    Args:
        state: the model, the loss, and how many micro-batches there are.
        schedule: sizes of the batches, and the settings of the run.
        teacher: a detector to learn from besides; its terms follow those of the loss.
    """

    def __init__(
        self,
        state: TrainState,
        group: ProcessGroup,
        *,
        schedule: Schedule,
        compute: ComputeOptions,
        teacher: Teacher | None = None,
    ) -> None:
        self.state = state
        self._teacher = teacher
        self.columns = (*state.loss.columns, *(teacher.columns if teacher is not None else ()))
        self._group = group
        self._schedule = schedule
        self._settings = schedule.settings
        self.compute = compute
        micro_batches = state.progress.micro_batches
        network = state.network
        self._sum = GradientSum(network, group, num_micro_batches=micro_batches, strict=self._settings.strict_reduce)
        self._statistics = SharedStatistics(state.model, state.loss, group)
        loss = state.loss if teacher is None else DistillationLoss(state.loss, state.model.decode)  # type: ignore[arg-type]
        self._passes = NetworkPasses(network, loss, compute, group)
        self._passes.prepare_for(self._usual_shapes())

    def add(self, batch: Batch, plan: StepPlan, *, stop: StopSignal | None = None) -> BatchLosses:
        """Forward, loss and backward.

        Args:
            batch: this process's images of the batch; may be empty.
            plan: says how much the loss weighs.
            stop: checked at the end of the batch; the other processes get the answer with the next exchange.

        Raises:
            MemoryShortage: there is not enough memory for one image at a time.
        """
        progress = self.state.progress
        while True:
            self._sum.begin()
            bounds = micro_batch_bounds(self._schedule.samples_in(progress.batch), progress.micro_batches)
            self._statistics.begin([self._settings.sync_bn or a < b for a, b in pairwise(bounds)])
            try:
                terms, problem = self._try(batch, plan, bounds)
                self._sum.exchange()
                is_asked = stop is not None and stop.requested
                is_short, is_stop_asked = self._group.any_of(problem is not None, is_asked)
            except BaseException:
                self._statistics.discard()
                raise
            if not is_short:
                self._sum.accept()
                sent = self._statistics.finish(self._of_own_micro_batches(terms))
                return BatchLosses(self._added_up(sent), max(self._size_hw(batch.images)), is_stop_asked)
            self._sum.discard()
            self._statistics.discard()
            self._halve_micro_batches(problem)

    def _try(self, batch: Batch, plan: StepPlan, bounds: list[int]) -> tuple[list[Tensor], str | None]:
        """What each of this process's micro-batches adds to the losses, and, if memory ran out, in which words."""
        progress = self.state.progress
        terms: list[Tensor] = []
        try:
            for part in self._own_micro_batches(batch, bounds):
                self._group.beat(f"in epoch {progress.epoch}, batch {progress.batch}")
                terms.append(self._losses_of(part, plan) * (len(part.images) / bounds[-1]))
                self._sum.end_micro_batch()
                self._statistics.end_micro_batch()
        except (RuntimeError, MemoryError) as problem:
            if not is_out_of_memory(problem) or self._settings.sync_bn:  # others may wait in the middle of a layer
                raise
            return terms, " ".join(str(problem).split())
        return terms, None

    def _own_micro_batches(self, batch: Batch, bounds: list[int]) -> list[Batch]:
        """This process's micro-batches; those without images are left out, unless every process has to take part."""
        share = self.state.progress.micro_batches // self._group.world_size
        own = bounds[self._group.rank * share : (self._group.rank + 1) * share + 1]
        parts = [batch.part(first - own[0], last - own[0]) for first, last in pairwise(own)]
        return parts if self._settings.sync_bn else [part for part in parts if len(part.images)]

    def _losses_of(self, part: Batch, plan: StepPlan) -> Tensor:
        """(C,) terms of the loss of some images; their gradients are there when it returns."""
        device, state = self.compute.device, self.state
        images = self._resized(prepare_images(part.images, device))
        with self._passes.maps_of(images) as raw_maps:
            if len(images) == 0:  # nothing to learn, but the other processes wait for its share of the statistics
                torch.stack([raw_map.sum() for raw_map in raw_maps]).sum().backward()  # type: ignore[no-untyped-call]
                return torch.zeros(len(self.columns), device=device)
            share_done = self._schedule.share_done(state.progress.step, end=1)
            targets = part.targets
            if self._teacher is not None:
                targets = self._teacher.targets(images, raw_maps, targets, share_done)
            terms = self._passes.loss_for(images)(raw_maps, targets, share_done)
            state.scaler.scale(terms.total * plan.loss_scale).backward()  # type: ignore[no-untyped-call]
        return terms.values

    def _of_own_micro_batches(self, terms: list[Tensor]) -> Tensor:
        """(S, C) terms of the micro-batches of this process; those without images add nothing."""
        own_micro_batches = self.state.progress.micro_batches // self._group.world_size
        nothing = torch.zeros(len(self.columns), device=self.compute.device)
        return torch.stack([*terms, *[nothing] * (own_micro_batches - len(terms))])

    def _added_up(self, sent: list[Tensor]) -> Tensor:
        """The terms of all processes together, added in the order of the micro-batches."""
        total = torch.zeros(len(self.columns), device=self.compute.device)
        for micro_batches in sent:
            for micro_batch in micro_batches:
                total = total + micro_batch
        return total

    def _halve_micro_batches(self, problem: str | None) -> None:
        progress, group = self.state.progress, self._group
        most = math.ceil(self._schedule.samples_in(0) / progress.micro_batches)
        if most == 1:
            raise MemoryShortage(
                f"not enough memory for one image of {self._settings.imgsz} pixels at a time: "
                f"{problem or 'another process ran out of it'}",
                hint="use a smaller `--imgsz` or a smaller model",
            )
        progress.micro_batches *= 2
        self._sum.cut(progress.micro_batches)
        self._passes.prepare_for(self._usual_shapes())
        if self.compute.device.type == "cuda":
            torch.cuda.empty_cache()
        if group.is_first:
            logger.warning(
                "out of memory at epoch %d, batch %d: from here on, at most %s at a time",
                progress.epoch,
                progress.batch,
                counted(math.ceil(self._schedule.samples_in(0) / progress.micro_batches), "image"),
            )

    def _usual_shapes(self) -> list[tuple[int, int, int]]:
        """(B, H, W) of the micro-batches of the batches whose images have the size of the run."""
        sizes = {self._schedule.samples_in(batch) for batch in (0, self._schedule.batches_per_epoch - 1)}
        micro_batches = [
            pair for size in sizes for pair in pairwise(micro_batch_bounds(size, self.state.progress.micro_batches))
        ]
        return [(last - first, self._side, self._side) for first, last in micro_batches]

    @property
    def _side(self) -> int:
        """Of the images in a batch, before multi-scale, pixels."""
        return self._settings.imgsz * (2 if self._settings.quad else 1)

    def _resized(self, images: Tensor) -> Tensor:
        size_hw = self._size_hw(images)
        if size_hw == tuple(images.shape[2:]):
            return images
        if len(images) == 0:  # which cannot be interpolated
            return images.new_empty((0, 3, *size_hw))
        return F.interpolate(images, size=size_hw, mode="bilinear", align_corners=False)

    def _size_hw(self, images: Tensor) -> tuple[int, int]:
        """Height and width of `images` as the network sees them, pixels."""
        settings, stride = self._settings, self.compute.max_stride
        height, width = images.shape[2:]
        if not settings.multi_scale:
            return height, width
        factor = multi_scale_size(settings.seed, self.state.progress.step, self._side, stride) / max(height, width)
        return math.ceil(height * factor / stride) * stride, math.ceil(width * factor / stride) * stride


def multi_scale_size(seed: int, step: int, imgsz: int, stride: int) -> int:
    """Image side of step number `step`, pixels: a multiple of `stride`, half to one and a half times `imgsz`.

    At least two strides: of a single value, which one image leaves in the last map otherwise, there is no variance.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, PURPOSE_SIZE], counter=[step, 0, 0, 0]))
    return max(int(rng.integers(imgsz // 2, imgsz * 3 // 2 + stride)) // stride * stride, 2 * stride)


def micro_batches_for(batch_size: int, micro_batch: int, num_processes: int) -> int:
    """How many micro-batches a batch is cut into: a multiple of the processes.

    None has more than `micro_batch` images, if that is above 0.
    """
    share = math.ceil(batch_size / num_processes)
    return num_processes * (math.ceil(share / micro_batch) if micro_batch else 1)
