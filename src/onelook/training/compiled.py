"""Compiles a network's forward pass with `torch.compile`, for few shapes of images: each costs its own compilation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from onelook.errors import SettingsError
from onelook.inference.evaluator import Forward
from onelook.processes.process_group import ProcessGroup

Backend = str | Callable[..., Any]
"""What makes code of a graph: the name of one of torch's, or a function."""

BACKEND = "inductor"
MOST_SHAPES = 4
"""Shapes of validation batches that are compiled; torch gives up at 8 per network, those of training included."""


def compiled(model: nn.Module, backend: Backend = BACKEND) -> Forward:
    """The forward pass of `model`, compiled for each shape when it first comes; `model` itself stays as it is.

    Args:
        backend: all but the default are for tests.
    """
    # Otherwise some kernels of a GPU are chosen by timing, and the same seed would not give the same bits.
    options: dict[str, Any] | None = {"deterministic": True} if backend == BACKEND else None
    compiled_model: Forward = torch.compile(model, backend=backend, dynamic=False, options=options)
    return compiled_model


def check_compiler(device: torch.device) -> None:
    """Compile something small, so that what is missing is said before a run begins.

    Also forgets what earlier runs of this process have compiled, as torch limits how much there may be.

    Raises:
        SettingsError: torch cannot compile for `device` on this machine.
    """
    torch.compiler.reset()

    def small(values: Tensor) -> Tensor:
        return values.sigmoid() * values

    try:
        torch.compile(small, backend=BACKEND, options={"fx_graph_cache": False})(torch.ones(8, device=device))
    except RuntimeError as problem:
        reason = next((line for line in str(problem).splitlines() if line.strip()), type(problem).__name__)
        needed = "a C++ compiler, such as g++" if device.type == "cpu" else "Triton and a C compiler"
        raise SettingsError(
            f"setting `compile` needs {needed}, and torch could not compile on this machine: {reason.strip()}",
            hint="install it (`apt install g++` on Debian and Ubuntu), or drop `--compile`",
        ) from problem


def compiled_for(
    model: nn.Module, compiled_model: Forward, *, shapes: Iterable[tuple[int, ...]], group: ProcessGroup
) -> Forward:
    """A forward pass that is compiled for some shapes of images; others go through the network as it is.

    While a shape is compiled, this process rests.

    Args:
        model: a model in evaluation mode.
        compiled_model: what `compiled` returned for the same model.
        shapes: images, height and width of batches, pixels; the same in all processes.
    """
    to_compile, begun = set(shapes), set()

    def forward(images: Tensor) -> list[Tensor]:
        shape = (len(images), *images.shape[2:])
        if shape not in to_compile:
            raw_maps: list[Tensor] = model(images)
            return raw_maps
        with nullcontext() if shape in begun else group.resting():
            begun.add(shape)
            return compiled_model(images)

    return forward
