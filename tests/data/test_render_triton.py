"""The kernel against the renderer of torch: bit for bit on a GPU, and interpreted; and its machine code, as compiled.

Without a GPU, with Triton installed: `TRITON_INTERPRET=1 pytest tests/data/test_render_triton.py` and, for the test of
the machine code, the same without the variable.
"""

from __future__ import annotations

import os
import re

import pytest
import torch
from test_render_gpu import HYPERPARAMETERS, IMAGES, INDEX, SIDE, SIZES, hyperparameters

from onelook.data.augment.render_gpu import render
from onelook.data.dataset import TrainDataset
from onelook.data.device_renderer import device_renderer, kernel_refusal
from onelook.data.planned import PlannedBatch, PlannedDataset
from onelook.data.sampler import EpochItem

triton = pytest.importorskip("triton", reason="Triton is not installed: the kernel is not tested")
render_triton = pytest.importorskip("onelook.data.augment.render_triton")
IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not IS_INTERPRETED, reason="set TRITON_INTERPRET=1 to interpret the kernel")
ROUNDED_OR_EXACT = r"(add|sub|mul|div)\.rn\.f(32|64)(x2)?|(cvt|setp|selp|min|max|mov|neg|abs|and|or)\..*"


def same_bits(name: str, device: torch.device) -> None:
    dataset = PlannedDataset(TrainDataset(INDEX, hyperparameters(name), imgsz=SIDE, seed=3, cache=IMAGES))
    planned = dataset.batch([(EpochItem(0, number),) for number in range(len(SIZES))])
    assert isinstance(planned, PlannedBatch)
    expected, made = (planned.rendered(device, draw=draw).images for draw in (render, render_triton.render))
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(made, expected)


@interpreted
@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_the_interpreted_kernel_makes_the_bits_of_torch(name: str) -> None:
    same_bits(name, torch.device("cpu"))


@interpreted
def test_the_interpreted_kernel_passes_its_trial() -> None:
    assert kernel_refusal(render_triton.render, torch.device("cpu")) is None


@pytest.mark.skipif(IS_INTERPRETED, reason="unset TRITON_INTERPRET to compile the kernel")
@pytest.mark.parametrize("capability", [80, 90])
def test_the_compiled_kernel_rounds_after_each_operation(capability: int) -> None:
    """Nothing is fused or approximated, which an interpreter cannot show; no device is needed."""
    arrays = {
        "*u8": ("images", "pixels", "tables", "is_changed"),
        "*fp32": ("ratios",),
        "*fp64": ("first_fields", "second_fields"),
        "*i16": ("first_spans", "second_spans"),
        "i32": ("first_tiles", "second_tiles", "height", "width"),
        "constexpr": ("rows", "columns"),
    }
    given = {name: kind for kind, names in arrays.items() for name in names}
    constants = {"rows": render_triton.ROWS, "columns": render_triton.COLUMNS}
    source = triton.compiler.ASTSource(render_triton.draw, given, constants)
    target = triton.backends.compiler.GPUTarget("cuda", capability, 32)
    options = {"enable_fp_fusion": False, "num_warps": render_triton.WARPS}
    assembly = triton.compile(source, target=target, options=options).asm
    assert len(assembly["cubin"]) > 0
    operations = set(re.findall(r"^\s*(?:@!?%p\d+ )?([a-z][\w.]*\.f(?:32|64)[\w.]*)", assembly["ptx"], re.MULTILINE))
    assert {"mul.rn.f32", "div.rn.f32", "mul.rn.f64"} <= operations
    assert [name for name in operations if not re.fullmatch(ROUNDED_OR_EXACT, name)] == []


@pytest.mark.gpu
@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_the_kernel_makes_the_bits_of_torch(name: str) -> None:
    same_bits(name, torch.device("cuda"))


@pytest.mark.gpu
def test_a_gpu_uses_the_kernel() -> None:
    assert kernel_refusal(render_triton.render, torch.device("cuda")) is None
    assert device_renderer(torch.device("cuda"), is_first=True) is render_triton.render
