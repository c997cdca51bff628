"""How a training step runs the network and its loss: as they are, compiled, or recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onelook.errors import SettingsError
from onelook.losses.protocol import LossTerms, TrainingLoss
from onelook.processes.process_group import ProcessGroup
from onelook.settings.train import TrainSettings
from onelook.structures.batch import Targets
from onelook.training.captured import CapturedLoss, CapturedNetwork, CudaRecorder, Recorder
from onelook.training.compiled import BACKEND, Backend, check_compiler, compiled
from onelook.training.freeze import frozen_rows
from onelook.training.run_model import RunModel

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ComputeOptions:
    """How the steps are computed.

    Attributes:
        amp: type of mixed-precision arithmetic, or None.
        max_stride: sizes of multi-scale training are multiples of it, pixels.
        frozen: layers that do not learn.
        backend: what compiles the network; empty for nothing.
        recorder: what records its passes and those of the loss; None for nothing.
    """

    device: torch.device
    amp: torch.dtype | None = None
    max_stride: int = 32
    frozen: tuple[nn.Module, ...] = ()
    backend: Backend = ""
    recorder: Recorder | None = None


def check_passes(settings: TrainSettings, device: torch.device) -> None:
    """Find out, before a run begins, whether this machine can do what `compile` and `capture` ask for.

    Raises:
        SettingsError: it cannot; says what is missing.
    """
    if settings.capture and device.type != "cuda":
        raise SettingsError(
            f"setting `capture` records CUDA graphs, which the device of this run, {device.type}, does not have",
            hint="drop `--capture`, or train on a GPU of NVIDIA",
        )
    if settings.compile:
        check_compiler(device)


def compute_options(settings: TrainSettings, model: RunModel) -> ComputeOptions:
    """How the steps of a run with these settings are computed."""
    backend, recorder = BACKEND if settings.compile else "", CudaRecorder() if settings.capture else None
    frozen = tuple(frozen_rows(model.model, settings.freeze))
    return ComputeOptions(model.device, model.amp, model.model.max_stride, frozen, backend, recorder)


class NetworkPasses:
    """Forward passes and losses of a training step, and what they need on the way back.

    Only the shapes that `prepare_for` names are compiled or recorded, all others run as they are: a compilation takes a
    minute, a recording keeps memory. Which ones these are depends only on the point of the run, so that a resumed run
    gives the same bits.

    Args:
        group: tells the other processes when a standstill is no hang.
    """

    def __init__(self, model: nn.Module, loss: TrainingLoss, compute: ComputeOptions, group: ProcessGroup) -> None:
        self._model = model
        self._loss = loss
        self._compute = compute
        self._group = group
        self._compiled = compiled(model, compute.backend) if compute.backend else None
        self._captured: dict[Shape, CapturedNetwork] = {}
        self._recorder: Recorder | None = None
        self._captured_loss: CapturedLoss | None = None
        self._expected: set[Shape] = set()
        self._begun: set[Shape] = set()

    def prepare_for(self, shapes: Iterable[Shape]) -> None:
        """Compile or record these (B, H, W) from now on, each when it comes; forget what was recorded before."""
        self._expected = set(shapes)
        self._captured.clear()
        self._captured_loss = None
        self._begun.clear()
        if self._compute.recorder is not None:  # in new memory, since the old one fits no other recordings
            self._recorder = self._compute.recorder.apart()
            self._captured_loss = CapturedLoss(self._loss, self._compute.recorder.apart())

    @contextmanager
    def maps_of(self, images: Tensor) -> Iterator[list[Tensor]]:
        """Raw maps of (B, 3, H, W) images; the backward pass belongs into the context.

        While something is compiled or recorded, this process rests: that takes longer than a step may.
        """
        device, amp = self._compute.device, self._compute.amp
        shape = (len(images), *images.shape[2:])
        is_special = shape in self._expected and (self._compiled is not None or self._compute.recorder is not None)
        with self._group.resting() if is_special and not self._is_ready(shape) else nullcontext():
            # A recording must not read casts of the weights that lie in memory of another step.
            is_cached = self._compute.recorder is None
            with torch.autocast(device.type, dtype=amp, enabled=amp is not None, cache_enabled=is_cached):
                raw_maps = self._special(images, shape) if is_special else self._model(images)
            yield raw_maps
            self._begun.add(shape)

    def loss_for(self, images: Tensor) -> Callable[[Sequence[Tensor], Targets, float], LossTerms]:
        """The loss of the maps of these images: recorded, if the network is."""
        shape = (len(images), *images.shape[2:])
        return self._loss if self._captured_loss is None or shape not in self._expected else self._captured_loss

    def _is_ready(self, shape: Shape) -> bool:
        """Whether a shape needs no more compiling or recording."""
        return self._captured[shape].is_recorded if shape in self._captured else shape in self._begun

    def _special(self, images: Tensor, shape: Shape) -> list[Tensor]:
        if self._compiled is not None:
            return self._compiled(images)
        assert self._recorder is not None
        if shape not in self._captured:
            self._captured[shape] = CapturedNetwork(self._model, self._recorder)
        return self._captured[shape](images)
