"""One pass of a detector over a split, as the settings of a validation ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from onelook.data.dataset import ValidationDataset
from onelook.data.loader import choose_workers, validation_loader
from onelook.data.splits import ONE_CLASS, Splits
from onelook.errors import SettingsError
from onelook.inference.backend import Backend, Thresholds, check_thresholds, refuse_other_names
from onelook.inference.ensemble import assembled
from onelook.inference.evaluator import Evaluation, EvaluationSettings, Evaluator
from onelook.models.detector import DetectionModel
from onelook.processes.launch_env import processes_here
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings
from onelook.structures.batch import Batch
from onelook.structures.dataset_index import DatasetIndex

Runnable = DetectionModel | Backend


@dataclass(frozen=True)
class ValidationPass:
    """A split, and how it is validated.

    Attributes:
        settings: thresholds, sizes of batches.
        splits: splits of the dataset, among them the one that the settings name.

    Raises:
        SettingsError: several processes, and a task that measures times.
    """

    settings: ValidateSettings
    splits: Splits
    group: ProcessGroup
    stop: StopSignal

    def __post_init__(self) -> None:
        if self.settings.is_series and self.group.world_size > 1:
            raise SettingsError(
                f"task `{self.settings.task}` measures times, which {self.group.world_size} processes would disturb",
                hint="start one process",
            )

    @property
    def index(self) -> DatasetIndex:
        """The split."""
        return self.splits.scans[self.settings.split].index

    def run(self, model: Runnable, *, imgsz: int) -> Evaluation:
        """Evaluate `model` on images of this longest side, pixels; StopRequested if `stop` was set."""
        settings = self.settings
        if isinstance(model, DetectionModel):
            stride, frame_hw = model.max_stride, None
        else:
            stride, frame_hw = model.stride, model.frame_hw
        dataset = ValidationDataset(
            self.index,
            imgsz=imgsz,
            batch_size=settings.batch_size,
            stride=stride,
            frame_hw=frame_hw,
            pad=0.0 if settings.task == "speed" else 0.5,  # no more than detection would see
        )
        evaluator = evaluator_for(model, dataset, settings, self.group, hybrid=settings.save_hybrid)
        return evaluator.run(model, stop=self.stop)


def evaluator_for(
    model: Runnable,
    dataset: ValidationDataset,
    settings: TrainSettings | ValidateSettings,
    group: ProcessGroup,
    *,
    amp: torch.dtype | None = None,
    hybrid: bool = False,
    common_shapes: Sequence[tuple[int, int, int]] = (),
) -> Evaluator:
    """Measures `model`, or others of its classes on its device, with the thresholds of these settings.

    Args:
        amp, hybrid: see `EvaluationSettings`.
        common_shapes: see `Evaluator`.
    """
    device = next(model.parameters()).device if isinstance(model, DetectionModel) else model.device
    return Evaluator(
        dataset.index,
        lambda: validation_batches(dataset, settings.workers, device=device, group=group),
        num_classes=model.num_classes,
        settings=EvaluationSettings(
            conf_thres=settings.conf_thres,
            iou_thres=settings.iou_thres,
            max_det=settings.max_det,
            agnostic_nms=settings.single_cls,
            amp=amp,
            hybrid=hybrid,
        ),
        group=group,
        common_shapes=common_shapes,
    )


def validation_batches(
    dataset: ValidationDataset, workers: int, *, device: torch.device, group: ProcessGroup | None = None
) -> Iterable[Batch]:
    """The batches of `dataset`, on their way to `device`; of n processes each is given every n-th, whole."""
    rank, world_size = (group.rank, group.world_size) if group is not None else (0, 1)
    all_images = dataset.rectangles.batch_size * world_size  # only the processors are shared
    count = choose_workers(
        workers, all_images, device_type=device.type, world_size=world_size, processes_here=processes_here()
    )
    return validation_loader(dataset, workers=count, pin_memory=device.type == "cuda", rank=rank, world_size=world_size)


def as_one(models: Sequence[Runnable], settings: ValidateSettings) -> Runnable:
    """What is validated: the model as training validates it, or whatever the settings make of it, or an ensemble.

    Raises:
        ModelError, SettingsError: see `assembled`.
    """
    only = models[0] if len(models) == 1 else None
    if isinstance(only, DetectionModel) and not settings.half and not settings.augment:
        return only
    labels = [str(path) for path in settings.weights]
    return assembled(models, half=settings.half, augment=settings.augment, labels=labels)


def refuse_other_sizes(model: Runnable, settings: ValidateSettings) -> None:
    """Refuse sizes and thresholds that an exported model was not made for.

    Raises:
        SettingsError: the model takes another size only, or its NMS drops boxes that are asked for.
    """
    if isinstance(model, DetectionModel):
        return
    for imgsz in settings.sizes:
        if model.frame_hw is not None and max(model.frame_hw) != imgsz:
            height, width = model.frame_hw
            raise SettingsError(
                f"setting `imgsz` is {imgsz}; the model was exported for {height} x {width} only",
                hint=f"use `--imgsz {max(model.frame_hw)}`, or export with `--dynamic`",
            )
    asked = Thresholds(settings.conf_thres, settings.iou_thres, settings.max_det, settings.single_cls)
    check_thresholds(model, asked)


def refuse_other_classes(model: Runnable, splits: Splits, settings: ValidateSettings) -> None:
    """Refuse a model that knows other classes than the dataset.

    Raises:
        ModelError: see `refuse_other_names`.
        SettingsError: `single_cls` is asked for with a model of several classes.
    """
    weights = " ".join(str(path) for path in settings.weights)
    if not settings.single_cls:
        hint = "use `--single-cls`, as in their training" if tuple(model.names) == ONE_CLASS else None
        refuse_other_names(model.names, splits.names, weights=weights, other=settings.data, hint=hint)
    if settings.single_cls and model.num_classes != 1:
        raise SettingsError(
            f"`single_cls` needs weights of one class, but `{weights}` have {model.num_classes}",
            hint="train with `--single-cls`",
        )
