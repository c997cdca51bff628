"""The model of a training: built or resumed, checked against the settings, its anchors fitted to the labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onelook.data.dataset import ValidationDataset
from onelook.data.splits import Splits
from onelook.errors import SettingsError
from onelook.models.detector import DetectionModel
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TrainSettings
from onelook.structures.anchors import AnchorGrid
from onelook.structures.origin import Origin, origin_of
from onelook.training.autoanchor import GOOD_RECALL, fit_anchors, label_sizes_px
from onelook.training.families import report_without_effect
from onelook.training.resume import Resumed
from onelook.training.start import check_image_size, say_start
from onelook.training.weights import StartingModel, built, starting_model, weights_of

logger = logging.getLogger(__name__)

NUM_IMAGES_FOR_NORMS = 100
BATCH_FOR_NORMS = 10


@dataclass(frozen=True)
class RunModel:
    """The model of a run, and how it is computed.

    Attributes:
        device, amp: where and in which precision it is computed.
        origin: origin of the first weights in a chain of trainings; None if unknown.
    """

    model: DetectionModel
    label: str
    device: torch.device
    amp: torch.dtype | None
    origin: Origin | None = None

    def on_device(self) -> RunModel:
        """The same with the network moved to its device."""
        moved = self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return replace(self, model=moved)


def model_of_run(
    settings: TrainSettings,
    splits: Splits,
    resumed: Resumed | None,
    *,
    device: torch.device,
    amp: torch.dtype | None,
    stop: StopSignal,
) -> RunModel:
    """The model that a run begins with or is resumed with, on the CPU, with anchors that suit the data.

    Raises:
        OnelookError: the definition or the weights cannot be used, or not with these settings.
        StopRequested: `stop` was set during the search for anchors.
    """
    if resumed is not None:
        model = built(weights_of(resumed.checkpoint, "model/", resumed.run.last))
        check_image_size(settings, model)
        origin = origin_of(resumed.checkpoint.document.get("origin"))
        return RunModel(model, Path(settings.cfg).stem or "model", device, amp, origin)
    start = starting_model(settings, splits.names, lambda: _some_images(settings, splits))
    say_start(settings, start.origin)
    if start.report is not None:
        logger.info("weights `%s`: %s", settings.weights, start.report)
    new_classes = splits.names if start.report is None else start.report.new_classes
    start.model.head.expect_classes(_frequencies(splits, new_classes))
    report_without_effect(start.model, settings)
    if start.model.anchor_grid is not None:
        _settle_anchors(start, start.model.anchor_grid, settings, splits, stop)
    return RunModel(start.model, start.label, device, amp, start.origin)


def _frequencies(splits: Splits, classes: Sequence[str]) -> dict[int, float]:
    """Class id -> mean number of its labels in a training image, for these classes."""
    index = splits.scans["train"].index
    counts = np.bincount(index.class_ids, minlength=len(splits.names)) / len(index)
    return {class_id: float(counts[class_id]) for class_id, name in enumerate(splits.names) if name in classes}


def _some_images(settings: TrainSettings, splits: Splits) -> Iterator[Tensor]:
    """Up to 100 training images, evenly spread over the split, in batches (B, 3, S, S) from 0 to 1."""
    index, side = splits.scans["train"].index, settings.imgsz
    dataset = ValidationDataset(index, imgsz=side, batch_size=1, frame_hw=(side, side))
    numbers = np.linspace(0, len(index) - 1, min(NUM_IMAGES_FOR_NORMS, len(index))).round().astype(int).tolist()
    for start in range(0, len(numbers), BATCH_FOR_NORMS):
        batch = [dataset.sample(number).image for number in numbers[start : start + BATCH_FOR_NORMS]]
        yield torch.stack(batch).float() / 255


def _settle_anchors(
    start: StartingModel, grid: AnchorGrid, settings: TrainSettings, splits: Splits, stop: StopSignal
) -> None:
    """Fit the anchors to the labels, unless they are to stay."""
    placeholders = start.has_new_anchors and isinstance(start.model.definition["anchors"], int)
    if settings.noautoanchor:
        if placeholders:
            raise SettingsError(
                f"model `{settings.cfg}` says only how many anchors it has, and `noautoanchor` forbids finding them",
                hint="drop `noautoanchor`, or write the anchors into the definition",
            )
        return
    own, chosen = fit_anchors(
        label_sizes_px(splits.scans["train"].index, settings.imgsz),
        grid,
        anchor_t=settings.anchor_t,
        seed=settings.seed,
        placeholders=placeholders,
        stop_requested=stop,
    )
    if chosen.best_possible_recall <= GOOD_RECALL:
        logger.warning(
            "the anchors can match only %.1f %% of the labels and no better ones were found; the other objects cannot "
            "be learned: use a larger `--imgsz` if they are small or thin, or a larger `anchor_t`",
            100 * chosen.best_possible_recall,
        )
    if chosen is own:
        logger.info("anchors kept: they can match %.1f %% of the labels", 100 * own.best_possible_recall)
        return
    logger.info(
        "anchors replaced: the old ones could match %.1f %% of the labels, the new ones %.1f %%",
        100 * own.best_possible_recall,
        100 * chosen.best_possible_recall,
    )
    start.model.set_anchors(torch.from_numpy(chosen.anchors_px).float())
