"""The search for a batch size: on made-up memories, and once for real."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from onelook.training.autobatch import SHARE, Forecast, find_batch_size
from onelook.training.batch_search import MemoryLine, Outcome, SizeSearch
from onelook.training.batch_trial import Growth, TrialRequest
from onelook.training.trial_process import REHEARSAL, SURVEY, Measure, trial_process

MIB = 2**20
ROOM = 1000


class MadeUp:
    """A memory of 1000 units in which a batch takes what a formula says; above `dies_at` a process is killed."""

    def __init__(self, survey: Callable[[int], float], rehearsal: Callable[[int], float], dies_at: float) -> None:
        self.formulas = {SURVEY: survey, REHEARSAL: rehearsal}
        self.dies_at = dies_at
        self.num_processes = 0

    @contextmanager
    def process(self) -> Iterator[Measure]:
        self.num_processes += 1
        yield self.measure

    def measure(self, kind: str, batch_size: int) -> Growth | None:
        taken = self.formulas[kind](batch_size)
        return None if taken > self.dies_at else {"device": round(taken)}


def fits(_batch_size: int, growth: Growth) -> bool:
    return growth["device"] <= ROOM


def steady(constant: float, per_image: float) -> Callable[[int], float]:
    return lambda batch: constant + per_image * batch


@pytest.mark.parametrize(
    ("survey", "rehearsal", "dies_at", "unit", "most", "expected"),
    [
        (steady(0, 10), steady(0, 10), 1000, 1, 10_000, {100}),
        (steady(400, 10), steady(400, 10), 1000, 1, 10_000, {60}),
        (steady(600, 190), steady(600, 190), 1000, 1, 10_000, {2}),
        (steady(100, 0.5), steady(100, 0.5), 1100, 1, 10_000, set(range(1796, 1804))),
        (steady(100, 10), steady(100, 10), 1000, 1, 7, {7}),  # few images
        (steady(100, 10), steady(100, 10), 1000, 1, 50, {50}),
        (steady(100, 10), steady(100, 10), 1000, 4, 10_000, {88}),
        (steady(100, 10), steady(100, 10), 1000, 4, 3, {4}),
        (steady(0, 10), steady(0, 14), 2000, 1, 10_000, {71}),  # a fresh process takes more
        (steady(0, 14), steady(0, 10), 1000, 1, 10_000, {99, 100}),  # or less
        (steady(0, 10), steady(0, 14), 900, 1, 10_000, {56}),  # and is killed at 100 and 75
        (steady(0, 10), lambda batch: 5 * batch if batch < 50 else 20 * batch, 1000, 1, 10_000, {42}),
        (steady(900, 1), steady(900, 1), 1000, 1, 10_000, {100}),
        (lambda _: 700, lambda _: 700, 1000, 1, 300, {300}),  # micro-batches: more images cost nothing
        (steady(700, 250), steady(700, 250), 1000, 1, 10_000, {1}),
    ],
)
def test_the_largest_batch_that_fits_is_found(
    survey: Callable[[int], float],
    rehearsal: Callable[[int], float],
    dies_at: float,
    unit: int,
    most: int,
    expected: set[int],
) -> None:
    group = MadeUp(survey, rehearsal, dies_at)
    search = SizeSearch(fits, group.process, unit=unit, most=most)
    outcome = search.run()
    assert outcome.batch_size in expected, search.trials
    assert outcome.growth is not None
    assert group.num_processes <= 5
    largest = max(trial.batch_size for trial in search.trials)
    assert largest <= 3 * outcome.batch_size, "nothing far too large is tried"


def test_nothing_is_found_where_one_image_is_too_much() -> None:
    group = MadeUp(steady(900, 200), steady(900, 200), 1000)
    assert SizeSearch(fits, group.process, unit=1, most=64).run() == Outcome(1, None)
    late = MadeUp(steady(0, 900), steady(2000, 0), 1000)  # the survey went well, a fresh process does not
    assert SizeSearch(fits, late.process, unit=1, most=64).run().growth is None


def test_plenty_of_memory_needs_no_rehearsal() -> None:
    group = MadeUp(steady(10, 1), steady(10, 1), 1000)
    search = SizeSearch(fits, group.process, unit=1, most=48)
    assert search.run() == Outcome(48, {"device": 58})
    assert [trial.batch_size for trial in search.trials] == [1, 2, 4, 8, 16, 32, 48]
    assert group.num_processes == 1


def test_a_line_never_falls() -> None:
    line = MemoryLine.through(8, {"a": 50, "b": 90}, [Outcome(2, {"a": 60, "b": 30})])
    assert line.at(16) == {"a": 50, "b": 170}
    assert MemoryLine.through(8, {"a": 80}, [Outcome(8, {"a": 1})]).at(4) == {"a": 40}


def request_for(definition: dict[str, object], **changes: object) -> TrialRequest:
    settings = TrainSettings(imgsz=96, noplots=True, workers=0)
    request = TrialRequest(
        definition, settings, "cpu", num_images=4, num_val_images=6, frame_hw=(96, 96), val_frame_hw=(96, 128)
    )
    return replace(request, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "changed", "share"),
    [
        ("address_space", {}, 0.5 + 0.04 + 0.13 + 0.0115),
        ("address_space", {"other_bytes": 100 * MIB}, 0.6 + 0.04 + 0.13 + 0.0115),
        ("address_space", {"settings": TrainSettings(noplots=True, multi_scale=True)}, 0.5 + 0.04 + 0.36 + 0.013),
        ("address_space", {"settings": TrainSettings()}, 0.5 + 0.04 + 0.18 + 0.13 + 0.0115),
        ("resident", {"settings": TrainSettings(noplots=True, workers=8)}, 0.53 + 0.2 + 3 * 4 * 0.001171875 + 0.0115),
        ("device", {"other_bytes": 600 * MIB}, 0.5 + 0.0105),
    ],
)
def test_the_forecast_adds_what_trials_do_not_see(kind: str, changed: dict[str, object], share: float) -> None:
    limit = MemoryLimit("some", kind, 500 * MIB, 1000 * MIB)
    roomy = MemoryLimit("other", "data", 0, 100_000 * MIB)
    growth = {kind: 10 * MIB, "data": 10 * MIB}
    forecast = Forecast(request_for({}, **changed), (roomy, limit))
    found, fullest = forecast.fullest(4, growth)
    assert found == pytest.approx(share, rel=1e-4)
    assert fullest is limit
    assert forecast.fits(4, growth) == (share <= SHARE)


def test_loaders_are_forecast_for_the_processes_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onelook.data.loader.available_processors", lambda: 8)
    request = request_for({}, device="cuda:0", processes=4, settings=TrainSettings(noplots=True, workers=8, imgsz=96))
    limit = MemoryLimit("some", "resident", 0, 1000 * MIB)
    four, two, one = (Forecast(request, (limit,), here).fullest(16, {"resident": 0})[0] for here in (4, 2, 1))
    assert one - two == pytest.approx(2 * (two - four)) and four < two  # 7, 3 and 1 workers each


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
    assert [(trial.batch_size, trial.kind) for trial in choice.trials] == [(1, SURVEY), (2, SURVEY), (4, SURVEY)]
    grown = [trial.growth["resident"] for trial in choice.trials if trial.growth]
    assert grown == sorted(grown) and grown[0] > MIB
    assert 0 < choice.predicted_bytes < choice.limit_bytes
    assert choice.summary().startswith("batch size 4: a process will take up to ")


def test_a_stop_ends_the_trials_and_their_process(tiny_model: Path) -> None:
    stop = StopSignal()
    stop.request("the test")
    with pytest.raises(StopRequested), trial_process(request_for({}), stop) as measure:
        measure(SURVEY, 1)


def test_a_trial_that_fails_for_another_reason_says_so() -> None:
    with (
        trial_process(request_for({"nc": 2})) as measure,
        pytest.raises(OnelookError, match="the trial of batch sizes"),
    ):
        measure(SURVEY, 1)


def test_too_little_memory_for_one_image_is_an_error_with_numbers(tiny_model: Path) -> None:
    definition = create_model(tiny_model, num_classes=2).definition
    with pytest.raises(
        MemoryShortage, match=r"one image in each of 2 processes of 96 pixels: .* \d+\.\d\d GiB of"
    ) as caught:
        find_batch_size(request_for(definition, other_bytes=10**15, processes=2, num_images=2), processes_on_host=2)
    assert "smaller `--imgsz` or a smaller model" in str(caught.value)
