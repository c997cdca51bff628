"""When a kernel makes the images on a device, and what is said when it does not."""

from __future__ import annotations

import importlib.util
import logging
from collections import Counter

import pytest
import torch
from torch import Tensor

from onelook.data import device_renderer as chosen
from onelook.data.augment.colour import ColourChange
from onelook.data.augment.render_gpu import Drawing, render
from onelook.data.augment.tile_tables import Kind

CPU = torch.device("cpu")


def fails(drawing: Drawing, pixels: Tensor) -> Tensor:
    raise RuntimeError("in a log:\n  no C compiler\n")


def last_level_of_one(drawing: Drawing, pixels: Tensor) -> Tensor:
    images = render(drawing, pixels)
    images[-1, 0, -1, -1] ^= 1
    return images


def test_a_kernel_is_used_if_it_makes_every_bit_of_the_trial() -> None:
    seen: Counter[str] = Counter()

    def counted(drawing: Drawing, pixels: Tensor) -> Tensor:
        seen.update(kind.name for layer in drawing.layers for kind in Kind if layer.images_of.get(kind))
        seen.update(["blended"] * len(drawing.layers[1:]) + ["coloured"] * (drawing.steps[0][0] is ColourChange))
        return render(drawing, pixels)

    assert chosen.kernel_refusal(counted, CPU) is None
    assert set(seen) == {"RESIZED", "WARPED", "blended", "coloured"}


def test_a_kernel_that_fails_or_differs_is_not_used() -> None:
    assert chosen.kernel_refusal(fails, CPU) == "the kernel of Triton does not run: RuntimeError: no C compiler"
    assert chosen.kernel_refusal(last_level_of_one, CPU) == "the kernel of Triton makes 0.00% of the pixels differently"


@pytest.mark.skipif(importlib.util.find_spec("triton") is not None, reason="for where Triton is not installed")
def test_torch_is_used_where_triton_is_missing_and_process_0_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert chosen.device_renderer(torch.device("cuda", 7), is_first=False) is render
    assert chosen.device_renderer(CPU, is_first=True) is render
    assert not caplog.messages
    assert chosen.device_renderer(torch.device("cuda", 7), is_first=True) is render
    assert caplog.messages == ["training images are made by torch: Triton, which is faster, is not installed"]
