"""What a batch of a given size costs in memory: everything that a run does with one is done here, on made-up images.

Meant for a process of its own, which is thrown away: a trial fills caches, moves batch-norm statistics and leaves
memory behind that no program gets back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from onelook.geometry.nms import non_max_suppression
from onelook.inference.evaluator import prepare_images
from onelook.models.detector import DetectionModel, create_model
from onelook.processes.device import amp_dtype
from onelook.processes.memory import MemoryUse, memory_use
from onelook.processes.process_group import ProcessGroup
from onelook.runs.checkpoint import encode
from onelook.settings.train import TrainSettings
from onelook.structures.batch import Batch, ImageInfo, Targets
from onelook.training.batch_gradient import Arithmetic, BatchGradient, multi_scale_size, shards_for
from onelook.training.ema import ModelEma
from onelook.training.families import create_loss
from onelook.training.freeze import frozen_rows, set_training_mode, stop_learning
from onelook.training.optimizer import create_optimizer
from onelook.training.schedule import Schedule, StepPlan
from onelook.training.state import Progress, TrainState, detector_tensors

MAX_GRADIENT_NORM = 10.0
STEPS_LOOKED_AT = 1000
NO_INFO = ImageInfo(0, "", (1, 1))
# The loss of a batch is not to move the weights; the learning rates are 0 too.
PLAN = StepPlan(lr_bias=0.0, lr=0.0, momentum=0.9, is_update=True, loss_scale=1.0)

Growth = dict[str, int]
"""Bytes that were added at the peak, by kind: address_space, data, resident, device."""


@dataclass(frozen=True)
class TrialRequest:
    """A run, as far as its memory goes.

    Attributes:
        definition: of the model.
        settings: of the run; its batch size does not matter.
        device: of this process, such as "cpu" or "cuda:1".
        num_images: of the training split.
        num_val_images: of the validation split; in validation no batch is larger than that.
        frame_hw: height and width of the largest training image, pixels; before multi-scale and `quad` enlarge it.
        val_frame_hw: height and width of the largest image in validation, pixels.
        boxes_per_image: how many boxes a training image may have, mosaics considered.
        other_bytes: main memory that this process will take besides, such as for decoded images.
        processes: that train together.
        num_threads: that compute in each of them.
    """

    definition: dict[str, Any]
    settings: TrainSettings
    device: str
    num_images: int
    num_val_images: int
    frame_hw: tuple[int, int]
    val_frame_hw: tuple[int, int]
    boxes_per_image: int = 100
    other_bytes: int = 0
    processes: int = 1
    num_threads: int = 1


class BatchTrial:
    """A run without data, for batches of any size.

    Args:
        request: the run.
    """

    def __init__(self, request: TrialRequest) -> None:
        self._request = request
        self._device = torch.device(request.device)
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        self._amp = amp_dtype(request.settings.amp, self._device)
        model = create_model(request.definition)
        self._before = memory_use()
        self._free_before = _free(self._device)
        frozen = tuple(frozen_rows(model, request.settings.freeze))
        self._arithmetic = Arithmetic(self._device, self._amp, model.max_stride, frozen)
        self._state = _state(request, self._arithmetic, model)
        self._random = torch.Generator().manual_seed(0)
        self._has_saved = False
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # With others, the sums of earlier batches and what is being sent are kept beside the gradients.
        copies = 0 if request.processes == 1 else 4 if request.settings.strict_reduce else 2
        self._kept = [torch.zeros_like(parameter) for parameter in parameters for _ in range(copies)]

    def survey(self, batch_size: int) -> Growth:
        """The most that batches of so many images, in this process, and all before them, have taken.

        Raises:
            OnelookError, RuntimeError, MemoryError: memory did not suffice.
        """
        largest = self._steps_by_size()[-1]
        return self._run(batch_size, ([largest] * 2, [largest] * 2))

    def rehearse(self, batch_size: int) -> Growth:
        """What the beginning of a run with batches of so many images takes, if this process has done nothing else.

        Raises:
            OnelookError, RuntimeError, MemoryError: memory did not suffice.
        """
        largest = self._steps_by_size()[-1]
        return self._run(batch_size, ([largest, 0, 1, 2], [3, 4, 5, largest]))

    def _run(self, batch_size: int, epochs: tuple[list[int], list[int]]) -> Growth:
        """Steps, validation and checkpoint, and more steps."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        schedule = self._schedule(batch_size)
        places = schedule.places_in(0)
        shards = shards_for(places, schedule.settings.micro_batch, 1)
        self._state.progress.shards = shards
        gradient = BatchGradient(self._state, ProcessGroup(), schedule=schedule, arithmetic=self._arithmetic)
        self._train(gradient, places, epochs[0])
        self._validate(2 * math.ceil(batch_size / shards))
        if not self._has_saved:
            self._save()
        self._train(gradient, places, epochs[1])
        if self._state.progress.shards != shards:
            raise MemoryError
        return self._growth()

    def _train(self, gradient: BatchGradient, places: int, steps: list[int]) -> None:
        """Every second batch is followed by an update, so that gradients are there while one is computed."""
        state = self._state
        set_training_mode(state.model, self._arithmetic.frozen)
        for number, step in enumerate(steps):
            state.progress.step = step
            gradient.add(self._batch(places), PLAN)
            if number % 2 == 1:
                self._update()

    def _update(self) -> None:
        state = self._state
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), MAX_GRADIENT_NORM)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        state.ema.update()

    @torch.inference_mode()
    def _validate(self, batch_size: int) -> None:
        """The averaged model, its loss, and the suppression of as many boxes as there can be."""
        settings, model = self._request.settings, self._state.ema.module
        num_images = min(batch_size, max(self._request.num_val_images, 1))
        batch = _batch(num_images, self._request.val_frame_hw, 0, self._random)
        images = prepare_images(batch.images, self._device)
        with torch.autocast(self._device.type, dtype=self._amp, enabled=self._amp is not None):
            raw_maps = model(images)
        self._state.loss(raw_maps, batch.targets)
        predictions = model.decode(raw_maps)  # type: ignore[operator]
        predictions[:1, :, 4:] = torch.rand(predictions[:1, :, 4:].shape, generator=self._random)
        thresholds = {"conf_thres": settings.conf_thres, "iou_thres": settings.iou_thres, "max_det": settings.max_det}
        non_max_suppression(predictions[:1], **thresholds)  # type: ignore[arg-type]

    def _save(self) -> None:
        """Keep the best weights and make the bytes of a checkpoint, all of which are in memory at once."""
        best = [tensor.clone() for tensor in detector_tensors(self._state.ema).values()]
        encoded = encode(self._state.tensors(), self._state.document())
        del best, encoded
        self._has_saved = True

    def _steps_by_size(self) -> list[int]:
        """Numbers of steps with images of all the sizes that occur, the smallest first."""
        if not self._request.settings.multi_scale:
            return [0]
        by_size = {self._size(step): step for step in range(STEPS_LOOKED_AT)}
        return [by_size[size] for size in sorted(by_size)]

    def _size(self, step: int) -> int:
        settings = self._request.settings
        side = 2 * settings.imgsz if settings.quad else settings.imgsz
        return multi_scale_size(settings.seed, step, side, self._arithmetic.max_stride)

    def _batch(self, places: int) -> Batch:
        height, width = self._request.frame_hw
        boxes = self._request.boxes_per_image
        if self._request.settings.quad:
            height, width, boxes = 2 * height, 2 * width, 4 * boxes
        return _batch(places, (height, width), boxes, self._random)

    def _schedule(self, batch_size: int) -> Schedule:
        settings = self._request.settings.model_copy(update={"batch_size": batch_size, "sync_bn": False})
        return Schedule(settings, max(self._request.num_images, batch_size))

    def _growth(self) -> Growth:
        growth = {}
        if self._device.type == "cuda":
            outside = self._free_before - _free(self._device) - torch.cuda.memory_reserved(self._device)
            growth["device"] = torch.cuda.max_memory_reserved(self._device) + max(outside, 0)
        use = memory_use()
        if use is not None and self._before is not None:
            growth |= _growth_of(self._before, use)
        return growth


def _growth_of(before: MemoryUse, use: MemoryUse) -> Growth:
    not_data = use.address_space - use.data
    return {
        "address_space": use.peak_address_space - before.address_space,
        "data": use.peak_address_space - not_data - before.data,  # the system keeps no peak of it
        "resident": use.peak_resident - before.resident,
    }


def _free(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def _state(request: TrialRequest, arithmetic: Arithmetic, model: DetectionModel) -> TrainState:
    settings, device = request.settings, arithmetic.device
    stop_learning(arithmetic.frozen)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = "AdamW" if settings.optimizer == "auto" else settings.optimizer  # which one is settled by the batch
    return TrainState(
        model=model,
        ema=ModelEma(model, total_updates=1),
        optimizer=create_optimizer(model, settings.model_copy(update={"optimizer": optimizer, "lr0": 0.0}), 0.0),
        scaler=torch.amp.GradScaler(device.type, enabled=arithmetic.amp == torch.float16),
        loss=create_loss(model, settings),
        progress=Progress(),
    )


def _batch(num_images: int, size_hw: tuple[int, int], boxes_per_image: int, random: torch.Generator) -> Batch:
    """Noise with boxes of all sizes anywhere."""
    draw: Any = partial(torch.rand, generator=random)
    num_boxes = num_images * boxes_per_image
    images = torch.randint(0, 256, (num_images, 3, *size_hw), dtype=torch.uint8, generator=random)
    sizes: Tensor = 0.02 + 0.5 * draw(num_boxes, 2) ** 2
    targets = Targets(
        image_index=torch.arange(num_images).repeat_interleave(boxes_per_image),
        class_ids=torch.zeros(num_boxes, dtype=torch.int64),
        boxes=torch.cat([0.25 + 0.5 * draw(num_boxes, 2), sizes], dim=1),
    )
    return Batch(images, targets, (NO_INFO,) * num_images)
