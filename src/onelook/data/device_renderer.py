"""Chooses the renderer of a device: the Triton kernel, if its images equal those of torch bit for bit, else torch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from onelook.data.augment.plan import Image
from onelook.data.augment.render_gpu import Render, render
from onelook.data.dataset import TrainDataset
from onelook.data.planned import PlannedBatch, PlannedDataset
from onelook.data.sampler import EpochItem
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex

TRIAL_SIZE = 160  # pixels; not a multiple of what the kernel makes at a time
TRIALS: tuple[dict[str, Any], ...] = (
    {"scale": 0.6, "fliplr": 0.5, "flipud": 0.5},  # resized
    {"scale": 0.6, "degrees": 20.0, "perspective": 0.0005, "mosaic9": 0.5, "mixup": 0.5},  # warped and blended
)
logger = logging.getLogger(__name__)


@cache
def device_renderer(device: torch.device, *, is_first: bool) -> Render:
    """The fastest renderer for `device`; process 0 logs which. The images do not depend on it.

    The choice depends on the machine and on what is installed, not on the data, so it is that of every process of a
    run and of its resume; and where another machine chooses otherwise, the bits are the same.
    """
    if device.type != "cuda":
        return render
    try:
        from onelook.data.augment import render_triton
    except ImportError:
        chosen, by = render, "torch: Triton, which is faster, is not installed"
    except Exception as problem:  # noqa: BLE001 - a broken installation or driver has errors of its own
        chosen, by = render, f"torch: Triton cannot be used: {problem}"
    else:
        reason = kernel_refusal(render_triton.render, device)
        chosen, by = (render_triton.render, "a kernel of Triton") if reason is None else (render, f"torch: {reason}")
    if is_first:
        logger.info("training images are made by %s", by)
    return chosen


def kernel_refusal(kernel: Render, device: torch.device) -> str | None:
    """What keeps `kernel` from being used; None if it makes the images of `render` on `device`, bit for bit."""
    try:
        for batch in _trial_batches():
            drawing, pixels = batch.drawing.map(lambda one: one.to(device)), batch.pixels.to(device)
            is_different = (kernel(drawing, pixels) != render(drawing, pixels)).any(dim=1)
            if is_different.any():
                return f"the kernel of Triton makes {float(is_different.double().mean()):.2%} of the pixels differently"
    except Exception as problem:  # noqa: BLE001 - compilers, linkers and drivers have errors of their own
        lines = str(problem).strip().splitlines() or [""]
        return f"the kernel of Triton does not run: {type(problem).__name__}: {lines[-1].strip()}"
    return None


@dataclass(frozen=True)
class _Noise:
    """Images that no file has."""

    images: tuple[Image, ...]

    def image(self, number: int) -> Image:
        return self.images[number]


def _trial_batches() -> Iterator[PlannedBatch]:
    """All kinds of tiles and steps."""
    rng = np.random.Generator(np.random.Philox(key=0))
    sizes_hw = ((120, 160), (160, 90), (53, 160), (160, 160))
    noise = _Noise(tuple(rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes_hw))
    index = DatasetIndex(
        paths=tuple(str(size) for size in sizes_hw),
        sizes_hw=np.array(sizes_hw, np.int32),
        offsets=np.zeros(len(sizes_hw) + 1, np.int64),
        class_ids=np.zeros(0, np.int64),
        boxes=np.zeros((0, 4), np.float32),
        polygon_offsets=np.zeros(1, np.int64),
        polygon_points=np.zeros((0, 2), np.float32),
        fingerprint="",
    )
    for given in TRIALS:
        dataset = TrainDataset(index, Hyperparameters(**given), imgsz=TRIAL_SIZE, seed=0, cache=noise)
        batch = PlannedDataset(dataset).batch([(EpochItem(0, number),) for number in range(len(sizes_hw))])
        assert isinstance(batch, PlannedBatch)
        yield batch
