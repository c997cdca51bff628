"""The search for a batch size: on made-up memories, and once for real."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onelook.errors import MemoryShortage, OnelookError, StopRequested
from onelook.models.detector import create_model
from onelook.processes.memory import MemoryLimit
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TrainSettings
from onelook.training.autobatch import choice_of, find_batch_size, fullest_limit, largest_batch
from onelook.training.batch_trial import PeakMemory, TrialRequest, try_in_process

MIB = 2**20
ROOM = 1000


def fits(_batch_size: int, peak: PeakMemory) -> bool:
    return peak["device"] <= ROOM


def steady(constant: float, per_image: float) -> Callable[[int], float]:
    return lambda batch: constant + per_image * batch


@pytest.mark.parametrize(
    ("formula", "dies_at", "unit", "most", "expected"),
    [
        (steady(0, 10), 1000, 1, 10_000, {100}),
        (steady(400, 10), 1000, 1, 10_000, {60}),
        (steady(600, 190), 1000, 1, 10_000, {2}),
        (steady(100, 0.5), 1100, 1, 10_000, set(range(1796, 1804))),
        (steady(100, 10), 1000, 1, 7, {7}),  # few images
        (steady(100, 10), 1000, 1, 50, {50}),
        (steady(100, 10), 1000, 4, 10_000, {88}),
        (steady(100, 10), 1000, 4, 3, {4}),
        (
            lambda batch: 10 * batch if batch < 50 else 14 * batch,
            2000,
            1,
            10_000,
            set(range(50, 72)),
        ),  # large ones take more
        (lambda batch: 10 * batch if batch < 50 else 14 * batch, 900, 1, 10_000, set(range(48, 72))),  # and are killed
        (lambda batch: 14 * batch if batch < 50 else 10 * batch, 1000, 1, 10_000, set(range(70, 101))),  # or less
        (lambda batch: 5 * batch if batch < 50 else 20 * batch, 1000, 1, 10_000, set(range(40, 51))),
        (steady(900, 1), 1000, 1, 10_000, {100}),
        (lambda _: 700, 1000, 1, 300, {300}),  # micro-batches: more images cost nothing
        (steady(700, 250), 1000, 1, 10_000, {1}),
    ],
)
def test_the_largest_batch_that_fits_is_found(
    formula: Callable[[int], float], dies_at: float, unit: int, most: int, expected: set[int]
) -> None:
    """In a memory of 1000 units, of which a batch takes what a formula says; above `dies_at` a process is killed."""
    tried: list[int] = []

    def try_size(batch_size: int) -> PeakMemory | None:
        tried.append(batch_size)
        return None if formula(batch_size) > dies_at else {"device": round(formula(batch_size))}

    found, peak = largest_batch(try_size, fits, unit=unit, most=most)
    assert found in expected, tried
    assert peak is not None
    assert len(tried) <= 8, tried
    assert max(tried) <= 4 * found, "nothing far too large is tried"


def test_nothing_is_found_where_one_image_is_too_much() -> None:
    assert largest_batch(lambda _: None, fits, unit=1, most=64) == (1, None)


def test_a_forecast_never_falls_with_the_batch() -> None:
    found, peak = largest_batch(lambda size: {"device": 60 - size, "other": 10 * size}, fits, unit=1, most=18)
    assert found == 18 and peak == {"device": 44, "other": 180}, "forecast from 16"


def request_for(definition: dict[str, object], **changes: object) -> TrialRequest:
    settings = TrainSettings(imgsz=96, noplots=True, workers=0)
    request = TrialRequest(
        definition,
        ("a", "b"),
        settings,
        "cpu",
        num_images=4,
        num_val_images=6,
        frame_hw=(96, 96),
        val_frame_hw=(96, 128),
    )
    return replace(request, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "changed", "share"),
    [
        ("address_space", {}, 0.5 + 0.35 + 0.0115),
        ("address_space", {"other_bytes": 100 * MIB}, 0.6 + 0.35 + 0.0115),
        ("address_space", {"settings": TrainSettings(multi_scale=True)}, 0.5 + 0.58 + 0.013),
        ("resident", {"settings": TrainSettings(workers=8)}, 0.62 + 0.2 + 4 * 4 * 0.001171875 + 0.0115),
        ("device", {"other_bytes": 600 * MIB}, 0.5 + 0.0105),
    ],
)
def test_the_forecast_adds_what_trials_do_not_see(kind: str, changed: dict[str, object], share: float) -> None:
    limit = MemoryLimit("some", kind, 500 * MIB, 1000 * MIB)
    roomy = MemoryLimit("other", "data", 0, 100_000 * MIB)
    peak = {kind: 10 * MIB, "data": 10 * MIB}
    found, fullest = fullest_limit(request_for({}, **changed), (roomy, limit), 4, peak)
    assert found == pytest.approx(share, rel=1e-4)
    assert fullest is limit


def test_loaders_are_forecast_for_the_processes_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onelook.data.loader.available_processors", lambda: 8)
    request = request_for({}, device="cuda:0", processes=4, settings=TrainSettings(noplots=True, workers=8, imgsz=96))
    limit = MemoryLimit("some", "resident", 0, 1000 * MIB)
    four, two, one = (
        fullest_limit(replace(request, processes_here=here), (limit,), 16, {"resident": 0})[0] for here in (4, 2, 1)
    )
    assert one - two == pytest.approx(2 * (two - four)) and four < two  # 7, 3 and 1 workers each


@pytest.mark.slow  # `tests/runs/test_batch_size.py` finds the batch of a run, whose bits stay the same
def test_trials_touch_neither_weights_nor_random_numbers(tiny_model: Path) -> None:
    model = create_model(tiny_model, num_classes=2)

    def digest() -> str:
        tensors = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
        return hashlib.sha256(
            tensors + bytes(torch.get_rng_state().tolist()) + np.random.get_state()[1].tobytes()  # noqa: NPY002
        ).hexdigest()

    before = digest()
    choice = find_batch_size(request_for(model.definition))
    assert digest() == before
    assert choice.batch_size == 4
    assert 0 < choice.predicted_bytes < choice.limit_bytes
    assert choice.summary().startswith("batch size 4: a process will take up to ")


def test_a_stop_ends_the_trials_and_their_process(tiny_model: Path) -> None:
    stop = StopSignal()
    stop.request("the test")
    with pytest.raises(StopRequested):
        try_in_process(request_for({}), 1, stop)
    assert not multiprocessing.active_children()


@pytest.mark.slow  # a trial that fails is shown above
def test_a_trial_that_fails_for_another_reason_says_so() -> None:
    with pytest.raises(OnelookError, match="the trial of batch sizes"):
        try_in_process(request_for({"nc": 2}), 1)


@pytest.mark.parametrize(
    ("peak", "reason"),
    [
        ({"resident": 1100 * MIB}, r"that would take 1\.35 GiB of 0\.98 GiB, the some"),
        (None, "the trial ran out of memory"),
    ],
)
def test_too_little_memory_for_one_image_is_an_error_with_numbers(peak: PeakMemory | None, reason: str) -> None:
    request = request_for({}, processes=2, processes_here=2, num_images=2)
    limit = MemoryLimit("some", "resident", 0, 1000 * MIB)
    says = rf"one image in each of 2 processes of 96 pixels: {reason}"
    with pytest.raises(MemoryShortage, match=says) as caught:
        choice_of(request, (limit,), 1, peak)
    assert "smaller `--imgsz` or a smaller model" in str(caught.value)
