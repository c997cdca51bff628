"""Finds the batch size of a run where the user leaves it to us, the same for all its processes."""

from __future__ import annotations

import logging
import math

import torch

from onelook.data.capacity import available_memory
from onelook.data.image_cache import MARGIN, ImageFiles, is_little
from onelook.data.rectangles import frame_for_aspects
from onelook.data.splits import Splits
from onelook.models.detector import DetectionModel
from onelook.processes.launch_env import processes_here
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TrainSettings
from onelook.structures.dataset_index import DatasetIndex
from onelook.training.autobatch import BatchChoice, find_batch_size
from onelook.training.batch_trial import TrialRequest

logger = logging.getLogger(__name__)

FIND = -1
CROWDED = 1.5
"""Boxes in the images of a full batch, as a multiple of the average."""


def with_batch_size(
    settings: TrainSettings,
    splits: Splits,
    *,
    model: DetectionModel,
    device: torch.device,
    group: ProcessGroup,
    stop: StopSignal,
) -> TrainSettings:
    """The settings, with a number found instead of -1 as `batch_size`.

    On the CPU one process of each machine tries, as all share its memory; beside GPUs each tries its own. The
    smallest answer counts for all.

    Raises:
        MemoryShortage: not even one image per process fits, somewhere.
    """
    if settings.batch_size != FIND:
        return settings
    tries = device.type == "cuda" or group.local_rank == 0

    def find() -> BatchChoice:
        request = trial_request(settings, splits, model=model, device=device, processes=group.world_size)
        return find_batch_size(request, stop=stop)

    choice = group.together(lambda: find() if tries else None)
    found = group.gather_values(None if choice is None else choice.batch_size)
    batch_size = min(size for size in found if size is not None)
    if group.is_first and choice is not None:
        logger.info("%s", choice.summary())
        if batch_size < choice.batch_size:
            logger.info("batch size %d: another process has less memory", batch_size)
    return settings.model_copy(update={"batch_size": batch_size})


def trial_request(
    settings: TrainSettings, splits: Splits, *, model: DetectionModel, device: torch.device, processes: int
) -> TrialRequest:
    """What the search has to know about a run."""
    train, val = splits.scans["train"].index, splits.scans["val"].index
    tiles = 1 if settings.rect else 9 if settings.mosaic9 > 0 else 4 if settings.mosaic > 0 else 1
    kept = {"auto": (train, val), "ram": (train, val), "val": (val,)}.get(settings.cache, ())
    sizes = [int(ImageFiles(index, settings.imgsz).num_bytes().sum()) for index in kept]
    if settings.cache == "auto":
        sizes = [size for size in sizes if is_little(size * processes_here())]
    cached, free = sum(sizes), available_memory()
    if free is not None and cached * processes_here() * MARGIN > free:
        cached = 0  # there will be no cache, and a warning
    return TrialRequest(
        definition=model.definition,
        names=model.names,
        settings=settings,
        device=str(device),
        num_images=len(train),
        num_val_images=len(val),
        frame_hw=_largest_frame(train, settings, model, pad=0.0) if settings.rect else (settings.imgsz, settings.imgsz),
        val_frame_hw=_largest_frame(val, settings, model, pad=0.5),
        boxes_per_image=math.ceil(
            CROWDED * tiles * (2 if settings.mixup > 0 else 1) * len(train.class_ids) / len(train)
        ),
        other_bytes=cached,
        processes=processes,
        processes_here=processes_here(),
        num_threads=torch.get_num_threads(),
    )


def _largest_frame(
    index: DatasetIndex, settings: TrainSettings, model: DetectionModel, *, pad: float
) -> tuple[int, int]:
    """Height and width of the frame that holds all images of a split, pixels; that of a batch is no larger."""
    aspects = index.sizes_hw[:, 0] / index.sizes_hw[:, 1]
    return frame_for_aspects(
        float(aspects.min()), float(aspects.max()), imgsz=settings.imgsz, stride=model.max_stride, pad=pad
    )
