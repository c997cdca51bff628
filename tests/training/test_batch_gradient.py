"""A batch in micro-batches: how many there are, what happens when memory runs out, and what the parts add up to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rank_faults import memory_for

from onelook.errors import MemoryShortage
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.training.batch_gradient import micro_batches_for, multi_scale_size
from onelook.training.callback import Callback, StepEnd

Settings = dict[str, Any]


@given(batch=st.integers(1, 300), micro=st.integers(0, 40), size=st.integers(1, 9))
def test_micro_batches_are_shared_out_evenly_and_none_is_larger_than_asked(batch: int, micro: int, size: int) -> None:
    micro_batches = micro_batches_for(batch, micro, size)
    assert micro_batches % size == 0
    if micro:
        assert -(-batch // micro_batches) <= micro
    else:
        assert micro_batches == size, "nothing is cut without need"


@given(seed=st.integers(0, 2**62), step=st.integers(0, 10**6), tens=st.integers(2, 40))
def test_sizes_of_multi_scale_are_multiples_of_the_stride_near_the_image_size(seed: int, step: int, tens: int) -> None:
    size = multi_scale_size(seed, step, 32 * tens, 32)
    assert size % 32 == 0 and 16 * tens - 32 < size <= 48 * tens + 32 and size >= 64
    assert size == multi_scale_size(seed, step, 32 * tens, 32)


@pytest.fixture
def settings(tiny_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A run of 6 steps of 7, 7 and 6 images, in one process."""
    return {
        "data": tiny_data,
        "cfg": tiny_model,
        "epochs": 2,
        "batch_size": 8,
        "nominal_batch": 16,
        "imgsz": 64,
        "workers": 0,
        "device": "cpu",
        "noplots": True,
        "noautoanchor": True,
        "noval": True,
        "auto_balance": True,
        "project": tmp_path_factory.mktemp("runs"),
    }


class Steps(Callback):
    def __init__(self) -> None:
        self.losses: list[list[float]] = []

    def on_step_end(self, event: StepEnd) -> None:
        self.losses.append(event.mean_losses.tolist())


def bits(run: Path) -> dict[str, bytes]:
    tensors = load_checkpoint(run / "weights" / "last.safetensors").tensors
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("images", "passes"),
    [
        pytest.param(4, [7, 3, 4, 3, 4, 3, 3], marks=pytest.mark.slow),
        (2, [7, 3, 1, 2, 2, 2, 1, 2, 2, 2, 1, 2, 1, 2]),
        pytest.param(1, [7, 3, 1, 2, *[1] * 7, *[1] * 7, *[1] * 6], marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_short_of_memory_is_the_run_with_smaller_parts(
    images: int, passes: list[int], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The first batch is done again in parts half as large, and all others in such parts, too."""
    with memory_for(images, training=True) as tried:
        short = train(settings, callbacks=[found := Steps()])
    assert tried[: len(passes)] == passes
    assert f"out of memory at epoch 0, batch 0: from here on, at most {images} images at a time" in caplog.text
    wanted = train({**settings, "micro_batch": images}, callbacks=[expected := Steps()])
    assert bits(short.run_folder) == bits(wanted.run_folder)
    assert found.losses == expected.losses


def test_parts_agree_with_the_whole_but_for_what_depends_on_the_batch(settings: Settings) -> None:
    whole = train({**settings, "epochs": 1}, callbacks=[one := Steps()])
    parts = train({**settings, "epochs": 1, "micro_batch": 3}, callbacks=[many := Steps()])
    assert bits(whole.run_folder) != bits(parts.run_folder)
    assert torch.allclose(torch.tensor(one.losses), torch.tensor(many.losses), rtol=0.1)


def test_one_image_that_does_not_fit_is_an_error_that_says_what_to_do(settings: Settings) -> None:
    with memory_for(0, training=True), pytest.raises(MemoryShortage) as caught:
        train(settings)
    assert caught.value.message.startswith("not enough memory for one image of 64 pixels at a time: CUDA out of")
    assert caught.value.hint == "use a smaller `--imgsz` or a smaller model"
    assert caught.value.exit_code == 71


def test_other_errors_are_no_shortage_of_memory(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("rank_faults.run_out_of_memory", fail)
    with memory_for(0, training=True), pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(settings)
