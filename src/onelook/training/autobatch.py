"""The batch size that makes good use of the memory, found with trial batches in processes of their own.

Neither weights nor random numbers of this process are touched. See docs/concepts/memory.md.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

import torch

from onelook.data.loader import choose_workers
from onelook.errors import MemoryShortage, SettingsError
from onelook.processes.memory import MemoryLimit, memory_limits
from onelook.processes.stop_signal import StopSignal
from onelook.training.batch_search import SizeSearch, SizeTrial
from onelook.training.batch_trial import Growth, TrialRequest
from onelook.training.trial_process import trial_process

logger = logging.getLogger(__name__)

MIB = 2**20
SHARE = 0.97
"""Of a limit, that a run is to take at its peak."""
DRIFT = 0.15
"""What the allocator loses between blocks as a run goes on, as a share of what a rehearsal takes."""
DRIFT_OF_SIZES = 0.3
"""The same where the sizes of images vary."""
DRIFT_ON_DEVICE = 0.05
"""The same on a GPU."""
# Taken by this process later on, whatever the batch: the library that draws images, and small things.
IMAGES = {"address_space": 180 * MIB, "data": 100 * MIB, "resident": 90 * MIB}
SMALL_THINGS = {"address_space": 40 * MIB, "data": 30 * MIB, "resident": 20 * MIB}
KERNELS = {"address_space": 130 * MIB, "data": 130 * MIB, "resident": 10 * MIB}
"""The code that oneDNN compiles for every shape of a batch: last batches and validation have their own."""
KERNELS_OF_SIZES = {"address_space": 360 * MIB, "data": 360 * MIB, "resident": 40 * MIB}
"""The same where the sizes of images vary: it keeps 1024 kernels, of which hardly any page is written."""
WORKER_BYTES = 100 * MIB
PREFETCHED = 3
"""Batches of each process that loads images: two that wait, one in the making."""


@dataclass(frozen=True)
class BatchChoice:
    """A batch size and why.

    Attributes:
        batch_size: images, in all processes together.
        predicted_bytes: most that will be in use of what is scarce.
        limit_bytes: most that may be.
        limited_by: what is scarce, in words.
        trials: what was tried, in that order; batch sizes of one process.
    """

    batch_size: int
    predicted_bytes: int
    limit_bytes: int
    limited_by: str
    trials: tuple[SizeTrial, ...]

    def summary(self) -> str:
        """One line for the log."""
        return (
            f"batch size {self.batch_size}: a process will take up to {self.predicted_bytes / 2**30:.2f} GiB "
            f"of {self.limit_bytes / 2**30:.2f} GiB, its {self.limited_by}"
        )


@dataclass(frozen=True)
class Forecast:
    """What a whole run will take, from what trials took.

    Args:
        request: the run.
        limits: of all kinds of memory that are scarce; at least one.
        processes_here: how many of the run's processes are on this machine; None if all are.
    """

    request: TrialRequest
    limits: tuple[MemoryLimit, ...]
    processes_here: int | None = None

    def fullest(self, batch_size: int, growth: Growth) -> tuple[float, MemoryLimit]:
        """The limit that such a run comes nearest to, and the share of it that it takes.

        Args:
            batch_size: images in one process.
            growth: what a trial with them took.
        """
        shares = [(limit.used + self._added(limit.kind, batch_size, growth)) / limit.limit for limit in self.limits]
        share = max(shares)
        return share, self.limits[shares.index(share)]

    def fits(self, batch_size: int, growth: Growth, /) -> bool:
        """Whether such a run stays within the share of every limit that a run is to take."""
        return self.fullest(batch_size, growth)[0] <= SHARE

    def _added(self, kind: str, batch_size: int, growth: Growth) -> float:
        settings = self.request.settings
        if kind == "device":
            return growth[kind] * (1 + DRIFT_ON_DEVICE)
        varies = settings.multi_scale
        fixed = self.request.other_bytes + SMALL_THINGS[kind] + (KERNELS_OF_SIZES if varies else KERNELS)[kind]
        if not settings.noplots:
            fixed += IMAGES[kind]
        if kind == "resident":
            fixed += self._loaders(batch_size)
        return fixed + growth[kind] * (1 + (DRIFT_OF_SIZES if varies else DRIFT))

    def _loaders(self, batch_size: int) -> int:
        """Bytes of the processes that load images for one training process, those for validation included."""
        settings, processes = self.request.settings, self.request.processes
        device_type = torch.device(self.request.device).type
        workers = choose_workers(
            settings.workers,
            batch_size * processes,
            device_type=device_type,
            world_size=processes,
            processes_here=self.processes_here,
        )
        return workers * (2 * WORKER_BYTES + PREFETCHED * batch_size * 3 * settings.imgsz**2)


def find_batch_size(
    request: TrialRequest, *, processes_on_host: int = 1, stop: StopSignal | None = None
) -> BatchChoice:
    """The largest batch size with which the run is predicted to stay within the memory.

    Args:
        request: the run.
        processes_on_host: how many of its processes share the main memory of this machine.
        stop: asked while trials run.

    Returns:
        A choice with at least one image per process, and no more images than the dataset has.

    Raises:
        MemoryShortage: not even one image per process fits.
        SettingsError: this system does not tell how much memory there is.
        OnelookError: the trials failed for another reason.
        StopRequested: `stop` was set.
    """
    forecast = Forecast(request, _limits(request, processes_on_host), processes_on_host)
    search = SizeSearch(
        forecast.fits,
        partial(trial_process, request, stop),
        unit=4 if request.settings.quad else 1,
        most=request.num_images // request.processes,
    )
    logger.info("trying batch sizes")
    outcome = search.run()
    if outcome.growth is None:
        raise _shortage(request, "the trial ran out of memory")
    share, limit = forecast.fullest(outcome.batch_size, outcome.growth)
    if share > 1:
        needed, most = share * limit.limit / 2**30, limit.limit / 2**30
        raise _shortage(request, f"that would take {needed:.2f} GiB of {most:.2f} GiB, the {limit.name}")
    return BatchChoice(
        batch_size=outcome.batch_size * request.processes,
        predicted_bytes=round(share * limit.limit),
        limit_bytes=limit.limit,
        limited_by=limit.name,
        trials=tuple(search.trials),
    )


def _limits(request: TrialRequest, processes_on_host: int) -> tuple[MemoryLimit, ...]:
    limits = memory_limits(processes=processes_on_host)
    device = torch.device(request.device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return (MemoryLimit(f"free memory of {device}", "device", 0, free), *limits)
    if device.type != "cpu" or not limits:
        raise SettingsError(
            f"setting `batch_size` is -1, but this system does not tell how much memory `{device.type}` has",
            hint="give `--batch-size` a number",
        )
    return limits


def _shortage(request: TrialRequest, reason: str) -> MemoryShortage:
    settings, processes = request.settings, request.processes
    what = "one image" if processes == 1 else f"one image in each of {processes} processes"
    return MemoryShortage(
        f"setting `batch_size` is -1, but there is not enough memory for {what} of {settings.imgsz} pixels: {reason}",
        hint="use a smaller `--imgsz` or a smaller model, or raise the limit",
    )
