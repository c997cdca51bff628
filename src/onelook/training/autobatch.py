"""The batch size that makes good use of the memory: tried on noise, each size in a process of its own.

Neither weights nor random numbers of this process are touched. See docs/concepts/memory.md.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from onelook.data.loader import choose_workers
from onelook.data.shared_segments import SLOTS
from onelook.errors import MemoryShortage, SettingsError
from onelook.processes.memory import MemoryLimit, memory_limits
from onelook.processes.stop_signal import StopSignal
from onelook.training.batch_trial import PeakMemory, TrialRequest, try_in_process

logger = logging.getLogger(__name__)

MIB = 2**20
SHARE = 0.97
"""Share of a memory limit that a run should take at its peak."""
DRIFT = 0.15
"""Memory that fragmentation adds during a run, as a share of what a trial takes."""
DRIFT_OF_SIZES = 0.3
"""The same where the sizes of images vary."""
DRIFT_ON_DEVICE = 0.05
"""The same on a GPU."""
# Taken by this process later on, whatever the batch: the library that draws images, small things, and the code that
# oneDNN compiles for every shape of a batch, of which batches with one image less and validation have their own.
FIXED = {"address_space": 350 * MIB, "data": 260 * MIB, "resident": 120 * MIB}
FIXED_OF_SIZES = {"address_space": 580 * MIB, "data": 490 * MIB, "resident": 150 * MIB}
"""The same where the sizes of images vary: oneDNN keeps 1024 kernels, of which hardly any page is written."""
WORKER_BYTES = 100 * MIB

STEP = 4
"""Largest ratio of a trial's batch to that of the trial before."""
EXTRAPOLATED = 1.25
"""Largest ratio of the answer to the largest batch that was tried."""
BACK_OFF = 0.75


@dataclass(frozen=True)
class BatchChoice:
    """A batch size and why.

    Attributes:
        batch_size: images, in all processes together.
        predicted_bytes: predicted peak use of the limiting memory.
        limited_by: the limiting memory, in words.
    """

    batch_size: int
    predicted_bytes: int
    limit_bytes: int
    limited_by: str

    def summary(self) -> str:
        """One line for the log."""
        return (
            f"batch size {self.batch_size}: a process will take up to {self.predicted_bytes / 2**30:.2f} GiB "
            f"of {self.limit_bytes / 2**30:.2f} GiB, its {self.limited_by}"
        )


def find_batch_size(request: TrialRequest, *, stop: StopSignal | None = None) -> BatchChoice:
    """The largest batch size with which the run is predicted to stay within the memory.

    Raises:
        MemoryShortage: not even one image per process fits.
        SettingsError: this system does not tell how much memory there is.
        OnelookError: the trials failed for another reason.
    """
    limits = _limits(request)
    logger.info("trying batch sizes")
    unit = 4 if request.settings.quad else 1
    batch_size, peak = largest_batch(
        lambda size: try_in_process(request, size, stop),
        lambda size, peak: fullest_limit(request, limits, size, peak)[0] <= SHARE,
        unit=unit,
        most=request.num_images // request.processes,
    )
    return choice_of(request, limits, batch_size, peak)


def choice_of(
    request: TrialRequest, limits: Sequence[MemoryLimit], batch_size: int, peak: PeakMemory | None
) -> BatchChoice:
    """The batch size of the run, if it stays within the memory.

    Raises:
        MemoryShortage: it does not, or the trial has not.
    """
    if peak is None:
        raise _shortage(request, "the trial ran out of memory")
    share, limit = fullest_limit(request, limits, batch_size, peak)
    if share > 1:
        needed, most = share * limit.limit / 2**30, limit.limit / 2**30
        raise _shortage(request, f"that would take {needed:.2f} GiB of {most:.2f} GiB, the {limit.name}")
    return BatchChoice(batch_size * request.processes, round(share * limit.limit), limit.limit, limit.name)


def largest_batch(
    try_size: Callable[[int], PeakMemory | None], fits: Callable[[int, PeakMemory], bool], *, unit: int, most: int
) -> tuple[int, PeakMemory | None]:
    """The largest number of images that fits, and the memory it is expected to take; one unit and None if none fits.

    Growing batches are tried until a line through the last two says that the answer is near.

    Args:
        try_size: gives the memory that a batch takes; None if that was too much.
        fits: whether a run with batches of a size, whose trial took so much memory, stays within the limits.
        unit: the number is a multiple of this.
        most: and not above this, unless that is below a unit.
    """
    ceiling = max(most // unit, 1) * unit
    tried: list[tuple[int, PeakMemory]] = []
    batch_size, has_failed = unit, False
    while True:
        peak = try_size(batch_size)
        if peak is None:  # the forecast was wrong: not beyond what will have been seen
            has_failed, ceiling = True, batch_size - unit
            batch_size = int(batch_size * BACK_OFF) // unit * unit
            if not tried or batch_size <= tried[-1][0]:
                return tried[-1] if tried else (unit, None)
            continue
        tried.append((batch_size, peak))
        if len(tried) == 1 and ceiling > unit:
            batch_size = min(STEP * unit, ceiling)
            continue
        forecast = _line(tried[-2:])
        sizes = range(unit, ceiling + 1, unit)
        num_fitting = bisect_left(sizes, True, key=lambda size: not fits(size, forecast(size)))
        best = sizes[max(num_fitting - 1, 0)]
        farthest = batch_size if has_failed else max(int(batch_size * EXTRAPOLATED), batch_size + unit - 1)
        if best < batch_size / EXTRAPOLATED and best > unit:  # too far below what was tried to be sure of
            batch_size, ceiling = best, batch_size - unit
        elif best <= farthest or has_failed:
            return min(best, farthest), forecast(min(best, farthest))
        else:
            batch_size = min(best, STEP * batch_size)


def fullest_limit(
    request: TrialRequest, limits: Sequence[MemoryLimit], batch_size: int, peak: PeakMemory
) -> tuple[float, MemoryLimit]:
    """The share of the limit that a whole run comes nearest to, and that limit."""

    def added(kind: str) -> float:
        if kind == "device":
            return peak[kind] * (1 + DRIFT_ON_DEVICE)
        drift, fixed = (DRIFT_OF_SIZES, FIXED_OF_SIZES) if request.settings.multi_scale else (DRIFT, FIXED)
        loaders = _loader_bytes(request, batch_size) if kind == "resident" else 0
        return request.other_bytes + fixed[kind] + loaders + peak[kind] * (1 + drift)

    shares = [(limit.used + added(limit.kind)) / limit.limit for limit in limits]
    return max(shares), limits[shares.index(max(shares))]


def _loader_bytes(request: TrialRequest, batch_size: int) -> int:
    """Bytes of the processes that load images for one training process, those for validation included."""
    workers = choose_workers(
        request.settings.workers,
        batch_size * request.processes,
        device_type=torch.device(request.device).type,
        world_size=request.processes,
        processes_here=request.processes_here,
    )
    return workers * (2 * WORKER_BYTES + SLOTS * batch_size * 3 * request.settings.imgsz**2)


def _line(tried: Sequence[tuple[int, PeakMemory]]) -> Callable[[int], PeakMemory]:
    """Peak memory that rises linearly with the batch, through the last two trials, or through 0 and the only one."""
    batch_size, peak = tried[-1]
    start, before = tried[0] if len(tried) > 1 else (0, dict.fromkeys(peak, 0))
    slopes = {kind: max((peak[kind] - before[kind]) / (batch_size - start), 0.0) for kind in peak}
    return lambda size: {kind: round(peak[kind] + (size - batch_size) * slopes[kind]) for kind in peak}


def _limits(request: TrialRequest) -> tuple[MemoryLimit, ...]:
    limits = memory_limits(processes=request.processes_here)
    device = torch.device(request.device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return (MemoryLimit(f"free memory of {device}", "device", 0, free), *limits)
    if device.type != "cpu" or not limits:
        raise SettingsError(
            f"setting `batch_size` is -1, but this system does not report how much memory `{device.type}` has",
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
