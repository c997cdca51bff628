"""Images for an export: to measure 8-bit ranges on, and to compare mean average precision on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from onelook.data.dataset import ValidationDataset
from onelook.data.scan.rules import ScanOptions
from onelook.data.splits import ONE_CLASS, read_splits
from onelook.exports.plan import Images
from onelook.exports.report import MapComparison
from onelook.inference.backend import Backend, Thresholds, refuse_other_names
from onelook.inference.evaluator import EvaluationSettings, Evaluator
from onelook.inference.validation_pass import validation_batches
from onelook.models.detector import DetectionModel
from onelook.processes.stop_signal import StopSignal
from onelook.settings.export import ExportSettings
from onelook.structures.dataset_index import DatasetIndex

logger = logging.getLogger(__name__)
BATCH_SIZE = 8


@dataclass(frozen=True)
class ExportData:
    """The splits of a dataset that an export needs.

    Attributes:
        val: what is compared on.
        train: what ranges are measured on; None without int8.
        stride: largest stride of the model, pixels.
        num_calibration: images to measure ranges on.
    """

    val: DatasetIndex
    train: DatasetIndex | None
    imgsz_hw: tuple[int, int]
    stride: int
    workers: int
    num_calibration: int
    stop: StopSignal
    _measured: dict[object, float] = field(default_factory=dict)

    def compare(self, model: DetectionModel, export: Backend) -> MapComparison:
        """mAP50-95 of the model and of its export, in the same frames and with the same NMS."""
        key = (export.frame_hw, export.thresholds)
        if key not in self._measured:
            self._measured[key] = self._map(model, export.frame_hw, export.thresholds)
        return MapComparison(self._measured[key], self._map(export, export.frame_hw, export.thresholds), len(self.val))

    def calibration(self, batch: int) -> Callable[[], Iterator[Images]] | None:
        """Gives training images in their frames, `batch` at a time, spread evenly over the split."""
        if self.train is None:
            return None
        dataset = ValidationDataset(
            self.train, imgsz=max(self.imgsz_hw), batch_size=1, stride=self.stride, frame_hw=self.imgsz_hw
        )
        count = max(batch, min(self.num_calibration, len(self.train)) // batch * batch)
        numbers = np.linspace(0, len(self.train) - 1, count).round().astype(int).tolist()

        def calibration_images() -> Iterator[Images]:
            for start in range(0, count, batch):
                self.stop.check()
                images = [dataset.sample(number).image.numpy() for number in numbers[start : start + batch]]
                yield np.stack(images).astype(np.float32) / np.float32(255)

        return calibration_images

    def _map(
        self, model: DetectionModel | Backend, frame_hw: tuple[int, int] | None, thresholds: Thresholds | None
    ) -> float:
        dataset = ValidationDataset(
            self.val, imgsz=max(self.imgsz_hw), batch_size=BATCH_SIZE, stride=self.stride, frame_hw=frame_hw
        )
        evaluator = Evaluator(
            self.val,
            lambda: validation_batches(dataset, self.workers, device=torch.device("cpu")),
            num_classes=model.num_classes,
            settings=EvaluationSettings(**asdict(thresholds), multi_label=False)
            if thresholds
            else EvaluationSettings(),
        )
        return float(evaluator.run(model, stop=self.stop).metrics.map50_95)


def read_export_data(
    settings: ExportSettings, model: DetectionModel, imgsz_hw: tuple[int, int], *, stop: StopSignal
) -> ExportData:
    """Read the splits that the settings need.

    Raises:
        DataError: they cannot be used.
        ModelError: the dataset has other classes than the model.
    """
    wanted = ("train", "val") if settings.int8 else ("val",)
    single_cls = tuple(model.names) == ONE_CLASS
    options = ScanOptions(allow_unlabelled=True, single_cls=single_cls)
    splits = read_splits(Path(settings.data), wanted, options=options, stop=stop)
    if single_cls and len(splits.spec.names) > 1:
        logger.info("all classes of `%s` count as one, as in the training of the weights", settings.data)
    refuse_other_names(model.names, splits.names, weights=settings.weights, other=settings.data)
    return ExportData(
        val=splits.scans["val"].index,
        train=splits.scans["train"].index if settings.int8 else None,
        imgsz_hw=imgsz_hw,
        stride=model.max_stride,
        workers=settings.workers,
        num_calibration=settings.calibration_images,
        stop=stop,
    )
