"""The memory that a run with batches of a given size takes: its first steps on noise, in a process of their own.

Such a process fills caches, moves batch-norm statistics and leaves memory behind that no program gets back.
"""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from onelook.data.worker_signals import end_with_parent
from onelook.errors import MemoryShortage, OnelookError
from onelook.geometry.nms import non_max_suppression
from onelook.inference.evaluator import prepare_images
from onelook.models.detector import DetectionModel, create_model
from onelook.processes.device import amp_dtype
from onelook.processes.memory import is_out_of_memory, memory_use
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.runs.checkpoint import encode
from onelook.settings.train import TrainSettings
from onelook.structures.batch import Batch, ImageInfo, Targets
from onelook.training.batch_gradient import multi_scale_size
from onelook.training.captured import CudaRecorder, Recorder
from onelook.training.run_model import RunModel
from onelook.training.schedule import Schedule, StepPlan
from onelook.training.state import detector_tensors
from onelook.training.teacher import load_teacher
from onelook.training.training_step import TrainingStep

STEPS_LOOKED_AT = 1000
# With learning rates of 0, so that noise does not move the weights.
PLAN = StepPlan(lr_bias=0.0, lr=0.0, momentum=0.9, is_update=True, loss_scale=1.0)
SECONDS_BETWEEN_POLLS = 0.1

PeakMemory = dict[str, int]
"""Bytes added at the peak, by kind: address_space, data, resident, device."""


@dataclass(frozen=True)
class TrialRequest:
    """What the memory of a run depends on.

    Attributes:
        settings: settings of the run; their batch size is ignored.
        device: device of this process, such as "cpu" or "cuda:1".
        num_val_images: number of validation images, the most that a batch of validation can have.
        frame_hw: height and width of the largest training image, pixels; before multi-scale and `quad` enlarge it.
        val_frame_hw: height and width of the largest image in validation, pixels.
        boxes_per_image: largest number of boxes of a training image, mosaics included.
        other_bytes: main memory that this process needs for other things, such as decoded images.
        processes: number of processes that train together.
        processes_here: number of them that share the main memory of this machine.
    """

    definition: dict[str, Any]
    names: tuple[str, ...]
    settings: TrainSettings
    device: str
    num_images: int
    num_val_images: int
    frame_hw: tuple[int, int]
    val_frame_hw: tuple[int, int]
    boxes_per_image: int = 100
    other_bytes: int = 0
    processes: int = 1
    processes_here: int = 1
    num_threads: int = 1


def try_in_process(request: TrialRequest, batch_size: int, stop: StopSignal | None = None) -> PeakMemory | None:
    """Memory that a run with batches of a size takes; None if it was too much.

    Raises:
        MemoryShortage: the process did not even begin.
        OnelookError: the trial failed for another reason than memory.
    """
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=_trial, args=(theirs, request, batch_size), daemon=True
    )
    with _without_main_module():
        process.start()
    theirs.close()
    answers: list[dict[str, Any]] = []
    try:
        while len(answers) < 2:  # that it has begun, and what it found
            while not ours.poll(SECONDS_BETWEEN_POLLS):
                if stop is not None:
                    stop.check()
            answers.append(json.loads(ours.recv_bytes()))
    except (EOFError, OSError) as problem:
        if answers:  # killed, or it fell over where memory can run out without an exception
            return None
        raise MemoryShortage(
            "setting `batch_size` is -1, but the process that tries batches ended before it had loaded the library",
            hint="if memory is not what it lacked, give `--batch-size` a number",
        ) from problem
    finally:
        ours.close()
        process.kill()
        process.join()
    if "problem" in answers[1]:
        raise OnelookError(f"the trial of batch sizes failed: {answers[1]['problem']}", hint="give `--batch-size`")
    peak: PeakMemory | None = answers[1]["peak"]
    return peak


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Hide the main module: a new process imports it, and a script without a guard would start all over again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _trial(answers: Connection, request: TrialRequest, batch_size: int) -> None:
    """Report that this process has started, and then the memory that the batch took.

    The process is silent, never outlives its parent, leaves signals to it, and is the first to go when memory runs out.
    """
    end_with_parent()
    logging.disable()
    warnings.simplefilter("ignore")
    torch.set_num_threads(request.num_threads)
    with suppress(OSError), Path("/proc/self/oom_score_adj").open("r+", encoding="ascii") as file:
        file.write("1000")
    answers.send_bytes(b"{}")
    answer: dict[str, Any]
    try:
        answer = {"peak": peak_memory_of_batch(request, batch_size)}
    except Exception as problem:  # noqa: BLE001 - told to the process that asked
        is_shortage = is_out_of_memory(problem) or isinstance(problem, MemoryShortage)
        answer = {"peak": None} if is_shortage else {"problem": str(problem) or repr(problem)}
    answers.send_bytes(json.dumps(answer).encode())


def peak_memory_of_batch(request: TrialRequest, batch_size: int) -> PeakMemory:
    """Memory that the first steps of a run take, if this process has done nothing else.

    Raises:
        OnelookError, RuntimeError, MemoryError: memory did not suffice.
    """
    device = torch.device(request.device)
    is_cuda = device.type == "cuda"
    if is_cuda:
        torch.cuda.set_device(device)
    model = create_model(request.definition, names=request.names)
    before, free_before = memory_use(), torch.cuda.mem_get_info(device)[0] if is_cuda else 0
    TrialRun(request, model, batch_size, recorder=CudaRecorder() if request.settings.capture else None).run()
    peak = {}
    if is_cuda:
        outside = free_before - torch.cuda.mem_get_info(device)[0] - torch.cuda.memory_reserved(device)
        peak["device"] = torch.cuda.max_memory_reserved(device) + max(outside, 0)
    use = memory_use()
    if use is not None and before is not None:
        peak["address_space"] = use.peak_address_space - before.address_space
        not_data = use.address_space - use.data  # the system keeps no peak of data
        peak["data"] = use.peak_address_space - not_data - before.data
        peak["resident"] = use.peak_resident - before.resident
    return peak


class TrialRun:
    """The first steps of a run, a validation, a checkpoint, and more steps."""

    def __init__(
        self, request: TrialRequest, model: DetectionModel, batch_size: int, *, recorder: Recorder | None = None
    ) -> None:
        given, device = request.settings, torch.device(request.device)
        optimizer = "AdamW" if given.optimizer == "auto" else given.optimizer  # which one is settled by the batch
        changed = {"batch_size": batch_size, "sync_bn": False, "optimizer": optimizer}
        self.request, self.settings = request, given.model_copy(update=changed)
        settings, amp = self.settings, amp_dtype(given.amp, device)
        moved = RunModel(model, "", device, amp).on_device()
        schedule = Schedule(settings, max(request.num_images, batch_size))
        self.num_samples = schedule.samples_in(0)
        teacher = load_teacher(settings, moved.model, amp=amp) if settings.teacher else None
        self.step = TrainingStep.of_trial(moved, schedule, ProcessGroup(), teacher=teacher, recorder=recorder)
        self.state, self.compute = self.step.state, self.step.compute
        # With others, the sums of earlier batches and what is being sent are kept beside the gradients.
        copies = 0 if request.processes == 1 else 4 if settings.strict_reduce else 2
        learning = (one for one in self.state.parameters() if one.requires_grad)
        self.kept = [torch.zeros_like(one) for one in learning for _ in range(copies)]
        self.random = torch.Generator().manual_seed(0)

    def run(self) -> None:
        side = 2 * self.settings.imgsz if self.settings.quad else self.settings.imgsz
        steps = range(STEPS_LOOKED_AT if self.settings.multi_scale else 1)
        sizes = [multi_scale_size(self.settings.seed, step, side, self.compute.max_stride) for step in steps]
        largest = max(steps, key=sizes.__getitem__)
        usual = min(steps, key=lambda step: abs(sizes[step] - side))  # which is recorded
        micro_batches = self.state.progress.micro_batches
        self.train([largest, usual, usual, usual])
        self.validate(2 * math.ceil(self.num_samples / micro_batches))
        best = [tensor.clone() for tensor in detector_tensors(self.state.ema).values()]
        encoded = encode(self.state.tensors(), self.state.document())  # all in memory at once
        del best, encoded
        self.train([3, 4, 5, largest])
        if self.state.progress.micro_batches != micro_batches:  # the batch was halved: it does not fit
            raise MemoryError

    def train(self, steps: list[int]) -> None:
        """Train with an update after every second batch, so that gradients exist while the next ones are computed."""
        scale = 2 if self.settings.quad else 1
        size_hw = scale * self.request.frame_hw[0], scale * self.request.frame_hw[1]
        for number, step in enumerate(steps):
            self.state.progress.step = step
            batch = self.noise(self.num_samples, size_hw, scale**2 * self.request.boxes_per_image)
            self.step.run(batch, replace(PLAN, is_update=number % 2 == 1))

    @torch.inference_mode()
    def validate(self, batch_size: int) -> None:
        """Run the averaged model, its loss, and NMS of as many boxes as there can be."""
        settings, model = self.settings, self.state.ema.module
        batch = self.noise(min(batch_size, max(self.request.num_val_images, 1)), self.request.val_frame_hw, 0)
        images, amp = prepare_images(batch.images, self.compute.device), self.compute.amp
        with torch.autocast(self.compute.device.type, dtype=amp, enabled=amp is not None):
            raw_maps = model(images)
        self.state.loss(raw_maps, batch.targets)
        predictions = model.decode(raw_maps)  # type: ignore[operator]
        predictions[:1, :, 4:] = torch.rand(predictions[:1, :, 4:].shape, generator=self.random)
        thresholds = {"conf_thres": settings.conf_thres, "iou_thres": settings.iou_thres, "max_det": settings.max_det}
        non_max_suppression(predictions[:1], **thresholds)  # type: ignore[arg-type]

    def noise(self, num_images: int, size_hw: tuple[int, int], boxes_per_image: int) -> Batch:
        """A batch of noise with boxes of all sizes anywhere."""
        num_boxes = num_images * boxes_per_image
        images = torch.randint(0, 256, (num_images, 3, *size_hw), dtype=torch.uint8, generator=self.random)
        centres, sizes = torch.rand((2, num_boxes, 2), generator=self.random)
        targets = Targets(
            image_index=torch.arange(num_images).repeat_interleave(boxes_per_image),
            class_ids=torch.zeros(num_boxes, dtype=torch.int64),
            boxes=torch.cat([0.25 + 0.5 * centres, 0.02 + 0.5 * sizes**2], dim=1),
        )
        return Batch(images, targets, (ImageInfo(0, "", (1, 1)),) * num_images)
