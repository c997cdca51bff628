"""Loaders and evaluators as the settings ask for them."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import torch

from onelook.data import quad
from onelook.data.augment.augmentations import without_device
from onelook.data.augment.render_cpu import ImageSource
from onelook.data.capacity import available_processors
from onelook.data.dataset import Arrangement, TrainDataset, ValidationDataset
from onelook.data.device_images import DeviceImages, device_images
from onelook.data.device_renderer import device_renderer
from onelook.data.image_cache import ImageFiles, disk_cache, ram_cache, unasked_cache
from onelook.data.image_weights import ImageWeights
from onelook.data.loader import Batches, choose_workers, train_loader
from onelook.data.parallel_map import Work, progress_log
from onelook.data.planned import PlannedDataset, rendered
from onelook.data.rectangles import similar_shapes
from onelook.data.sampler import EpochOrder
from onelook.data.splits import Splits
from onelook.errors import StopRequested
from onelook.files.cache_folder import default_cache_folder
from onelook.inference.evaluator import Evaluator
from onelook.inference.validation_pass import evaluator_for
from onelook.models.detector import DetectionModel
from onelook.processes.launch_env import processes_here
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TrainSettings
from onelook.structures.dataset_index import DatasetIndex
from onelook.training.batch_gradient import micro_batches_for
from onelook.training.compiled import MOST_SHAPES
from onelook.training.run import Run
from onelook.training.run_model import RunModel
from onelook.training.schedule import at_length
from onelook.training.state import Progress

logger = logging.getLogger(__name__)


def training_set(
    data: Splits, model: DetectionModel, run: Run, progress: Progress, *, cache: ImageSource | None = None
) -> tuple[TrainDataset, EpochOrder]:
    """The augmented training images, and the order of their batches from where `progress` stands."""
    settings, index = at_length(run.settings, progress.length_changes), data.scans["train"].index
    order = EpochOrder(
        seed=settings.seed,
        num_images=len(index),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        start_epoch=progress.epoch,
        start_batch=progress.batch,
        rank=run.group.rank,
        world_size=run.group.world_size,
        quad=settings.quad,
        class_ap=(lambda: progress.class_ap) if settings.image_weights else None,
        partners_of_batch=settings.mosaic_partners == "batch",
    )
    if settings.rect:
        stride, size = model.max_stride, order.images_per_batch
        rectangles = similar_shapes(index.sizes_hw, imgsz=settings.imgsz, batch_size=size, stride=stride, pad=0.0)
        order = replace(order, rectangles=rectangles)
    arrangement = Arrangement(
        rectangles=order.rectangles,
        mosaic_epochs=settings.mosaic_epochs,
        quad=settings.quad,
        weights=ImageWeights(index, num_classes=model.num_classes, seed=settings.seed)
        if settings.image_weights
        else None,
    )
    dataset = TrainDataset(
        index, settings, imgsz=settings.imgsz, seed=settings.seed, arrangement=arrangement, cache=cache
    )
    return dataset, order


@dataclass(frozen=True)
class TrainingCache:
    """The training images that `cache` keeps.

    Attributes:
        decoded: images in memory or on the disk, if any.
        on_device: images in the memory of the device, if any.
    """

    decoded: ImageSource | None = None
    on_device: DeviceImages | None = None


def training_cache(data: Splits, model: RunModel, run: Run, stop: StopSignal | None = None) -> TrainingCache:
    """What `cache` asks for, filled; empty if `stop` said so meanwhile: the run is to be saved and to end.

    Raises:
        DataError: an image cannot be read.
    """
    settings, group, index = run.settings, run.group, data.scans["train"].index
    is_rendered = _renders(settings, model.device, is_first=group.is_first)
    wants_device = settings.cache == "gpu"
    on_device = _kept_images(index, settings, model.device, stop) if is_rendered and wants_device else None
    kind = "ram" if wants_device and on_device is None else settings.cache
    return TrainingCache(_filled_cache(index, settings.imgsz, kind, group, stop), on_device)


def training_batches(
    data: Splits, model: RunModel, run: Run, progress: Progress, *, cache: TrainingCache = TrainingCache()
) -> Batches:
    """All batches from where `progress` stands to the end of the run, of each the share of this process."""
    settings, group, device = run.settings, run.group, model.device
    kept = cache.on_device
    dataset, order = training_set(data, model.model, run, progress, cache=cache.decoded)
    workers = choose_workers(
        settings.workers,
        order.batch_size,
        device_type=device.type,
        world_size=group.world_size,
        processes_here=processes_here(),
    )
    pin_memory = device.type == "cuda"
    if not _renders(settings, device, is_first=False):
        return train_loader(dataset, order, workers=workers, pin_memory=pin_memory)
    planned = PlannedDataset(dataset, None if kept is None else kept.locations)
    batches = train_loader(planned, order, workers=workers, pin_memory=pin_memory)
    draw = device_renderer(device, is_first=group.is_first)
    return rendered(batches, device, None if kept is None else kept.pixels, draw)


def _renders(settings: TrainSettings, device: torch.device, *, is_first: bool) -> bool:
    """Whether the device makes the pixels; if it was to and cannot, process 0 says so."""
    if settings.renderer == "cpu":
        return False
    reasons = {"`quad` puts images together before": settings.quad, "it needs float64": device.type == "mps"}
    found = [f"{name} can only be done there" for name in without_device(settings)]
    reason = next(iter([*found, *(text for text, applies in reasons.items() if applies)]), None)
    if reason is not None and is_first:
        logger.warning("setting `renderer` is ignored, images are made by the loader processes: %s", reason)
    return reason is None


def validation_evaluator(data: Splits, model: RunModel, run: Run, stop: StopSignal | None = None) -> Evaluator:
    """Measures models on the validation split as the run asks for it; cache and errors as of `training_cache`."""
    settings, group, index = run.settings, run.group, data.scans["val"].index
    kind = "ram" if settings.cache in ("val", "gpu") else settings.cache
    dataset = ValidationDataset(
        index,
        imgsz=settings.imgsz,
        batch_size=validation_batch_size(run),
        stride=model.model.max_stride,
        cache=_filled_cache(index, settings.imgsz, kind, group, stop),
    )
    shapes = dataset.rectangles.common_shapes(MOST_SHAPES)
    return evaluator_for(model.model, dataset, settings, group, amp=model.amp, common_shapes=shapes)


def validation_batch_size(run: Run) -> int:
    """Images of a batch in validation: twice what a process trains on at a time; a resumed run keeps its number."""
    settled = run.resumed.checkpoint.document["progress"].get("val_batch", 0) if run.resumed else 0
    settings = run.settings
    full, area = settings.batch_size, 1
    if settings.quad:
        full, area = quad.num_samples(quad.num_images(full), full), quad.GRID
    micro_batches = micro_batches_for(full, settings.micro_batch, run.group.world_size)
    return settled or 2 * area * math.ceil(full / micro_batches)


def _filled_cache(
    index: DatasetIndex, imgsz: int, kind: str, group: ProcessGroup, stop: StopSignal | None
) -> ImageSource | None:
    """The images of a dataset, decoded and kept; None if `kind` asks for no cache, or there is no room or time."""
    files, work = ImageFiles(index, imgsz), _filling(kind, stop)
    try:
        if kind == "auto":
            return unasked_cache(files, work, num_processes=processes_here())
        if kind == "ram":
            return ram_cache(files, work, num_processes=processes_here())
        if kind == "disk":
            folder = default_cache_folder() / "images"
            return disk_cache(files, folder, work, rank=group.rank, world_size=group.world_size)
    except StopRequested:  # the run has a folder already, and needs a checkpoint to be resumable
        return None
    return None


def _kept_images(
    index: DatasetIndex, settings: TrainSettings, device: torch.device, stop: StopSignal | None
) -> DeviceImages | None:
    """The training images in the memory of the device; None if there is no room or time."""
    files, work = ImageFiles(index, settings.imgsz), _filling(settings.cache, stop)
    sharing = processes_here() if device.type == "cpu" else 1
    try:
        return device_images(files, device, scale=settings.scale, work=work, num_processes=sharing)
    except StopRequested:  # as above
        return None


def _filling(kind: str, stop: StopSignal | None) -> Work:
    return Work(
        workers=max(1, available_processors() // processes_here()),
        stop_requested=stop,
        progress=progress_log(f"images decoded for `cache: {kind}`"),
    )
