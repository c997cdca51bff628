"""Work in several processes on this machine: start them, restart a training if they die, give its result."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from onelook.callbacks.console import ConsoleProgress
from onelook.errors import ProcessGroupError, SettingsError
from onelook.processes.device import device_names, select_device
from onelook.processes.launch_env import is_launched
from onelook.processes.launcher import run_processes
from onelook.recipes.train import train
from onelook.recipes.train_result import TrainResult, result_of, result_of_finished
from onelook.runs.checkpoint import load_checkpoint
from onelook.runs.own_checkpoints import has_checkpoint, load_newest
from onelook.runs.run_dir import RunDir, run_of_launch
from onelook.settings.build import build_settings
from onelook.settings.command_line import as_arguments
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings
from onelook.training.callback import Callback
from onelook.training.resume import Resumed, refuse_resume_in_file, resume_run, warn_of_unread

logger = logging.getLogger(__name__)


def train_on_devices(
    given: Mapping[str, Any], *, file: Path | None = None, callbacks: Sequence[Callback] = ()
) -> TrainResult:
    """Train in this process, or, if the settings ask for several, in others that are started for it.

    Args:
        callbacks: observers of a training in this process.

    Raises:
        SettingsError: several processes, and callbacks that cannot travel to them.
        OnelookError: see `train`.
        StopRequested: a signal came; the run is saved and can be resumed.
    """
    if is_launched():
        return train(given, file=file, callbacks=callbacks)
    resumed = resume_run(given) if given.get("resume") else None
    settings = resumed.settings if resumed else build_settings(TrainSettings, given, file=file)
    if resumed is None:
        refuse_resume_in_file(settings, file)
    else:
        warn_of_unread(file)
        file = None
    if resumed is not None and resumed.done:
        return result_of_finished(resumed)
    count = processes_to_start(settings)
    if resumed is not None and given["resume"] is True:  # another run may be the newest after a restart
        given = {**given, "resume": str(resumed.run.path)}
    if count == 1:
        return train(given, file=file, callbacks=callbacks)
    if any(not isinstance(callback, ConsoleProgress) for callback in callbacks):
        raise SettingsError(
            f"callbacks are objects of this process, but the run takes {count} of its own",
            hint="give the Python file that defines them, `callbacks=['my_callbacks.py']`",
        )
    return _train_in_processes(_arguments("train", given, file), count, settings, resumed)


def validate_in_processes(
    given: Mapping[str, Any], settings: ValidateSettings, count: int, *, file: Path | None = None
) -> RunDir:
    """Validate in `count` processes, which show the result; its folder.

    Raises:
        OnelookError: see `validate`.
        StopRequested: a signal came.
    """
    run = RunDir.create(settings.project, settings.name, exist_ok=settings.exist_ok)
    given = {**given, "project": run.path.parent, "name": run.path.name, "exist_ok": True}
    end = run_processes(_arguments("val", given, file), count, launch=uuid.uuid4().hex, attempt=0)
    if end.failures or end.signal_name:
        with suppress(OSError):  # something is in it
            run.path.rmdir()
        end.raise_if_final()
        raise ProcessGroupError(str(end), hint="see the messages above")
    return run


def _arguments(command: str, given: Mapping[str, Any], file: Path | None) -> list[str]:
    return [command, *([f"--settings={file}"] if file is not None else []), *as_arguments(given)]


def processes_to_start(settings: TrainSettings | ValidateSettings) -> int:
    """How many processes the settings ask for; 1 means this one, as it does in one of those that were started.

    Raises:
        SettingsError: the devices are not as many as the processes.
        DeviceError: a device is absent.
    """
    if is_launched():
        return 1
    names = device_names(settings.device)
    if settings.nproc > 1 and len(names) > 1 and settings.nproc != len(names):
        raise SettingsError(
            f"setting `nproc` is {settings.nproc}, but `device` names {len(names)} devices",
            hint="give only one of them",
        )
    count = max(settings.nproc, len(names))
    devices = [select_device(settings.device, rank) for rank in range(count)] if count > 1 else []
    if any(device.type == "cuda" and devices.count(device) > 1 for device in devices):
        raise SettingsError(
            f"setting `nproc` is {count}, but `device` is `{settings.device}`, and each process needs a GPU of its own",
            hint="name one GPU for each, such as `--device 0,1`, or leave `nproc` out",
        )
    return count


def _train_in_processes(
    arguments: Sequence[str], count: int, settings: TrainSettings, resumed: Resumed | None
) -> TrainResult:
    """Train in several processes on this machine; if some die, all restart from the newest checkpoint."""
    launch = uuid.uuid4().hex
    begun = time.monotonic()
    attempt = failures_without_progress = 0
    last_step = -1
    while True:
        end = run_processes(arguments, count, launch=launch, attempt=attempt)
        run = resumed.run if resumed else run_of_launch(settings.project, launch)
        if not end.failures and not end.signal_name:
            if run is None:
                raise ProcessGroupError("the processes finished, but their run folder cannot be found")
            return result_of(run, load_checkpoint(run.last).document, seconds=time.monotonic() - begun)
        end.raise_if_final()
        step = load_newest(run).document["progress"]["step"] if run is not None and has_checkpoint(run) else -1
        failures_without_progress = 1 if step > last_step else failures_without_progress + 1
        last_step = step
        if failures_without_progress > settings.max_restarts:
            problem = ProcessGroupError(
                f"{end}; {attempt} restarts have not helped" if attempt else str(end),
                hint="see the messages above; `--resume` continues from the newest checkpoint",
            )
            if run is not None:
                run.write_status("failed", exit_code=problem.exit_code, message=problem.message)
            raise problem
        attempt += 1
        logger.warning("%s; restarting from the newest checkpoint (restart %d)", end, attempt)
