"""Everything that is settled before a run writes its first byte: settings, device, data, model, run folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from onelook.callbacks.trackers.identity import known_identities
from onelook.data.augment.transforms import check_transforms
from onelook.data.split_images import recorded_lists, training_splits
from onelook.data.splits import Splits
from onelook.errors import SettingsError
from onelook.processes.device import amp_dtype, select_device
from onelook.processes.launch_env import launch_id, restarts_so_far
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.processes.threads import limit_threads
from onelook.runs.run_dir import RunDir, run_of_launch
from onelook.settings.build import build_settings
from onelook.settings.train import TRACKER_NAMES, TrainSettings
from onelook.training.agreement import made_with, refuse_disagreement, refuse_other_data, warn_of_other_machine
from onelook.training.auto_settings import settle
from onelook.training.batch_size import with_batch_size
from onelook.training.families import family_of
from onelook.training.network_passes import check_passes
from onelook.training.pilot import epochs_within_budget
from onelook.training.resume import Resumed, refuse_resume_in_file
from onelook.training.run import Run
from onelook.training.run_model import RunModel, model_of_run
from onelook.training.start import check_start, inputs_of
from onelook.training.teacher import check_teacher

logger = logging.getLogger(__name__)


def prepare(
    given: Mapping[str, Any], file: Path | None, stop: StopSignal, group: ProcessGroup, *, resumed: Resumed | None
) -> tuple[Splits, RunModel, Run]:
    """Settle everything; the run folder comes last, so that a refused run leaves nothing behind.

    Args:
        resumed: the earlier run, if this one resumes it; its settings count then.

    Returns:
        The training and validation data, the model on its device, and the run.

    Raises:
        OnelookError: a setting, the data, the model or the device cannot be used, here or in another process.
    """
    began = monotonic()
    settings = resumed.settings if resumed else build_settings(TrainSettings, given, file=file)
    if resumed is None:
        refuse_resume_in_file(settings, file)
    group.set_patience(settings.hang_timeout)
    _check_local_rank(settings, group)
    check_transforms(settings.transforms)
    limit_threads()
    device = select_device(settings.device, group.local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    amp = amp_dtype(settings.amp, device)
    group.together(lambda: check_passes(settings, device))
    if resumed is None:
        check_start(settings)
    recorded = group.first(lambda: recorded_lists(resumed.run.split_lists) if resumed else {})
    data = group.first_then_others(lambda: training_splits(settings, recorded, stop=stop))
    if resumed is not None:
        if group.is_first:
            _warn_of_missing_trackers(resumed)
        refuse_other_data(resumed, data)
        warn_of_other_machine(resumed, made_with(device, group))
    model = model_of_run(settings, data, resumed, device=device, amp=amp, stop=stop)
    group.copy_from_first(list(model.model.state_dict().values()))
    check_teacher(settings, model.model, resumed=resumed, group=group)
    if resumed is None:
        settings = with_batch_size(settings, data, model=model.model, device=device, group=group, stop=stop)
        if settings.time:
            pilot = Run(settings, RunDir(Path()), None, group, began)
            settings = settings.model_copy(update={"epochs": epochs_within_budget(data, model, pilot, stop=stop)})
        settings = settle(
            settings,
            len(data.scans["train"].index),
            family_of(model.model.definition),
            num_classes=model.model.num_classes,
        )
    _refuse_uneven_shares(settings, group)
    refuse_disagreement(settings, data, model.model, group)
    group.check(stop)
    folder = resumed.run if resumed else RunDir(Path(group.first(lambda: str(_new_run(settings, model.label).path))))
    return data, model.on_device(), Run(settings, folder, resumed, group, began)


def _warn_of_missing_trackers(resumed: Resumed) -> None:
    missing = known_identities(resumed.run.path, TRACKER_NAMES).keys() - set(resumed.settings.track)
    if missing:
        names = ",".join(sorted(missing))
        logger.warning("the run was tracked by %s and no longer is: `--track %s` resumes that, too", names, names)


def _check_local_rank(settings: TrainSettings, group: ProcessGroup) -> None:
    if settings.local_rank >= 0 and settings.local_rank != group.local_rank:
        raise SettingsError(
            f"`local_rank` is {settings.local_rank}, but the environment says {group.local_rank}",
            hint="leave it out: `torchrun` sets LOCAL_RANK",
        )


def _refuse_uneven_shares(settings: TrainSettings, group: ProcessGroup) -> None:
    batch = settings.batch_size
    if batch % group.world_size:
        divisors = ", ".join(str(size) for size in range(1, batch + 1) if batch % size == 0)
        raise SettingsError(
            f"setting `batch_size` is {batch}, which {group.world_size} processes cannot share evenly",
            hint=f"use `--batch-size {-(-batch // group.world_size) * group.world_size}`, or one of these numbers of "
            f"processes: {divisors}",
        )


def _new_run(settings: TrainSettings, label: str) -> RunDir:
    name = label if settings.name == "cfg" else settings.name
    started = run_of_launch(settings.project, launch_id()) if restarts_so_far() else None
    return started or RunDir.create(settings.project, name, exist_ok=settings.exist_ok, inputs=inputs_of(settings))
