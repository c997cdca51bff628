"""Everything that is settled before a run writes its first byte: settings, device, data, model, run folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onelook.data.augment.transforms import check_transforms
from onelook.data.dataset import ValidationDataset
from onelook.errors import CheckpointError, SettingsError
from onelook.files.overwriting import refuse_inputs_inside
from onelook.models.detector import DetectionModel
from onelook.processes.device import amp_dtype, select_device
from onelook.processes.launch_env import launch_id, restarts_so_far
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.processes.threads import limit_threads
from onelook.recipes.agreement import refuse_disagreement
from onelook.recipes.batch_size import with_batch_size
from onelook.recipes.division import recorded_lists, training_splits
from onelook.recipes.resume import Resumed
from onelook.recipes.splits import Splits
from onelook.runs.run_dir import RunDir, run_of_launch
from onelook.settings.build import build_settings
from onelook.settings.series import storable
from onelook.settings.train import TrainSettings
from onelook.structures.anchors import AnchorGrid
from onelook.structures.origin import Origin, origin_of
from onelook.training.auto_settings import settle
from onelook.training.autoanchor import GOOD_RECALL, check_anchors
from onelook.training.families import family_of, report_without_effect, with_family_defaults
from onelook.training.freeze import frozen_rows
from onelook.training.weights import model_of, starting_model

logger = logging.getLogger(__name__)

NUM_IMAGES_FOR_NORMS = 100
BATCH_FOR_NORMS = 10


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin.

    Attributes:
        settings: checked.
        splits: training and validation data.
        model: on its device.
        label: what to call the model.
        device, amp: where and in which precision it is computed.
        run: the run folder.
        resumed: the earlier run, if this resumes one.
        group: the processes that train together.
        origin: of the weights that the first run of all began with; None if they do not say.
    """

    settings: TrainSettings
    splits: Splits
    model: DetectionModel
    label: str
    device: torch.device
    amp: torch.dtype | None
    run: RunDir
    resumed: Resumed | None
    group: ProcessGroup
    origin: Origin | None = None

    def stored_settings(self) -> dict[str, Any]:
        """The settings that make the run what it is, for the run folder and the checkpoints."""
        return storable(TrainSettings, self.settings.model_dump(mode="json"))

    def common_document(self) -> dict[str, Any]:
        """The part of a checkpoint's document that stays the same for the whole run."""
        record = self.run.record
        return {
            "run": {"id": record.run_id, "began": record.began},
            "settings": self.stored_settings(),
            "names": list(self.splits.names),
            "definition": self.model.definition,
            "data": self.splits.fingerprints(),
            "made_with": _made_with(self.device, self.group),
            **({"origin": asdict(self.origin)} if self.origin is not None else {}),
        }


def prepare(
    given: Mapping[str, Any], file: Path | None, stop: StopSignal, group: ProcessGroup, *, resumed: Resumed | None
) -> Prepared:
    """Settle everything; the run folder comes last, so that a refused run leaves nothing behind.

    Args:
        given, file: settings, the former stronger.
        stop: asked now and then.
        group: the processes that train together.
        resumed: the earlier run, if this one resumes it; its settings count then.

    Raises:
        OnelookError: a setting, the data, the model or the device cannot be used, here or in another process.
        StopRequested: `stop` was set.
    """
    settings = resumed.settings if resumed else build_settings(TrainSettings, given, file=file)
    group.set_patience(settings.hang_timeout)
    _check_local_rank(settings, group)
    check_transforms(settings.transforms)
    limit_threads()
    device = select_device(settings.device, group.local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    amp = amp_dtype(settings.amp, device)
    recorded = group.first(lambda: recorded_lists(resumed.run.division) if resumed else {})
    splits = group.first_then_others(lambda: training_splits(settings, recorded, stop=stop))
    if resumed is not None:
        _refuse_other_data(resumed, splits)
        _warn_of_other_machine(resumed, _made_with(device, group))
    model, label, origin = _model(settings, splits, resumed, stop)
    group.copy_from_first(list(model.state_dict().values()))
    if resumed is None:
        settings = with_family_defaults(model, settings)
        settings = with_batch_size(settings, splits, model=model, device=device, group=group, stop=stop)
        fine_tuning = family_of(model.definition).fine_tuning
        settings = settle(settings, len(splits.scans["train"].index), fine_tuning)
    _refuse_uneven_shares(settings, group)
    refuse_disagreement(settings, splits, model, group)
    group.check(stop)
    run = resumed.run if resumed else RunDir(Path(group.first(lambda: str(_new_run(settings, label).path))))
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Prepared(settings, splits, model, label, device, amp, run, resumed, group, origin)


def _check_local_rank(settings: TrainSettings, group: ProcessGroup) -> None:
    if settings.local_rank >= 0 and settings.local_rank != group.local_rank:
        raise SettingsError(
            f"`local_rank` is {settings.local_rank}, but the environment says {group.local_rank}",
            hint="leave it out: `torchrun` sets LOCAL_RANK",
        )


def _refuse_uneven_shares(settings: TrainSettings, group: ProcessGroup) -> None:
    batch = settings.batch_size
    if batch % group.world_size:
        legal = [size for size in range(1, batch + 1) if batch % size == 0]
        raise SettingsError(
            f"setting `batch_size` is {batch}, which {group.world_size} processes cannot share evenly",
            hint=f"use `--batch-size {-(-batch // group.world_size) * group.world_size}`, or {legal[-1]} or fewer "
            f"processes out of {', '.join(map(str, legal))}",
        )


def _model(
    settings: TrainSettings, splits: Splits, resumed: Resumed | None, stop: StopSignal
) -> tuple[DetectionModel, str, Origin | None]:
    if resumed is not None:
        model = model_of(resumed.checkpoint, "model/", resumed.run.last)
        _check_image_size(settings, model)
        return model, Path(settings.cfg).stem or "model", origin_of(resumed.checkpoint.document.get("origin"))
    start = starting_model(settings, splits.names, lambda: _some_images(settings, splits))
    _check_image_size(settings, start.model)
    frozen_rows(start.model, settings.freeze)
    if start.report is not None:
        logger.info("weights `%s`: %s", settings.weights, start.report)
        if start.origin is not None:
            logger.info("weights `%s`: %s", settings.weights, start.origin)
        start.model.head.expect_classes(_frequencies(splits, start.report.new_classes))
    report_without_effect(start.model, settings)
    if start.model.anchor_grid is None:
        return start.model, start.label, start.origin
    placeholders = start.has_new_anchors and isinstance(start.model.definition["anchors"], int)
    if not settings.noautoanchor:
        _fit_anchors(start.model, start.model.anchor_grid, settings, splits, placeholders, stop)
    elif placeholders:
        raise SettingsError(
            f"model `{settings.cfg}` says only how many anchors it has, and `noautoanchor` forbids to find them",
            hint="drop `noautoanchor`, or write the anchors into the definition",
        )
    return start.model, start.label, start.origin


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


def _check_image_size(settings: TrainSettings, model: DetectionModel) -> None:
    stride = model.max_stride
    if settings.imgsz % stride or settings.imgsz < 2 * stride:
        fitting = max(-(-settings.imgsz // stride), 2) * stride
        raise SettingsError(
            f"setting `imgsz` is {settings.imgsz}; this model needs a multiple of {stride}, at least {2 * stride}",
            hint=f"use `--imgsz {fitting}`",
        )


def _fit_anchors(
    model: DetectionModel,
    grid: AnchorGrid,
    settings: TrainSettings,
    splits: Splits,
    placeholders: bool,
    stop: StopSignal,
) -> None:
    report = check_anchors(
        splits.scans["train"].index,
        grid,
        imgsz=settings.imgsz,
        anchor_t=settings.anchor_t,
        seed=settings.seed,
        placeholders=placeholders,
        stop_requested=lambda: stop.requested,
    )
    if report.new_best_possible_recall <= GOOD_RECALL:
        logger.warning(
            "the anchors can match only %.1f %% of the labels and no better ones were found; the other objects cannot "
            "be learned: use a larger `--imgsz` if they are small or thin, or a larger `anchor_t`",
            100 * report.new_best_possible_recall,
        )
    if report.kept:
        logger.info("anchors kept: they can match %.1f %% of the labels", 100 * report.best_possible_recall)
        return
    logger.info(
        "anchors replaced: the old ones could match %.1f %% of the labels, the new ones %.1f %%",
        100 * report.best_possible_recall,
        100 * report.new_best_possible_recall,
    )
    model.set_anchors(report.anchors)


def _new_run(settings: TrainSettings, label: str) -> RunDir:
    name = label if settings.name == "cfg" else settings.name
    started = run_of_launch(settings.project, launch_id()) if restarts_so_far() else None
    if settings.exist_ok and not started:
        inputs = [given for given in (settings.weights, settings.data, settings.cfg, settings.hyp) if given]
        refuse_inputs_inside(settings.project / name, inputs)
    return started or RunDir.create(settings.project, name, exist_ok=settings.exist_ok)


def _refuse_other_data(resumed: Resumed, splits: Splits) -> None:
    if resumed.checkpoint.document["data"] != splits.fingerprints():
        raise CheckpointError(
            f"the images or labels of `{resumed.settings.data}` have changed since run `{resumed.run.path}` was saved",
            hint="put them back, or start a new run with `--weights`",
        )


def _made_with(device: torch.device, group: ProcessGroup) -> dict[str, str | int]:
    return {
        "onelook": version("onelook"),
        "torch": torch.__version__,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "processes": group.world_size,
    }


def _warn_of_other_machine(resumed: Resumed, now: Mapping[str, str | int]) -> None:
    before = resumed.checkpoint.document["made_with"]
    settings = resumed.settings
    # Two numbers have one sum; of more, each number of processes has an order of its own, see `gradients.py`.
    two_shards = resumed.checkpoint.document["progress"]["shards"] <= 2
    any_number = (settings.strict_reduce or two_shards) and not settings.sync_bn
    compared = [key for key in now if not (key == "processes" and any_number)]
    changed = [f"{key} {before.get(key)} -> {now[key]}" for key in compared if before.get(key) != now[key]]
    if changed:
        logger.warning(
            "resumed elsewhere (%s): the result is equally good, but not bit for bit the same", ", ".join(changed)
        )
