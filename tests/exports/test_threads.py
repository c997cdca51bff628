"""Every backend answers each thread with the detections of its own images, however many ask at the same time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from colours import checkpoint_of, colour_detector, images
from test_formats import CPU, SLOW, skip_without

from onelook.exports.formats import EXPORTERS
from onelook.exports.opening import load_runnable, open_export
from onelook.inference.backend import Backend, TorchBackend
from onelook.inference.predictor import PredictionSettings, Predictor

THREADS, CALLS = 8, 50
GIVEN = [images(1, 64, 96).roll(8 * shift, dims=3) for shift in range(THREADS)]
"""An image for each thread, all different."""


@contextmanager
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def wrong_answers(ask: Callable[[int], torch.Tensor], expected: list[torch.Tensor], *, calls: int = CALLS) -> int:
    """How many of `THREADS` x `calls` answers at the same time are not those that were given one after the other."""

    def all_calls(thread: int) -> int:
        answers = [ask(thread) for _ in range(calls)]
        return sum(not torch.equal(answer, expected[thread]) for answer in answers)

    with frequent_switches(), ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(all_calls, range(THREADS)))


def check(backend: Backend, calls: int = CALLS) -> None:
    expected = [backend.predict(image).clone() for image in GIVEN]
    assert len({answer.numpy().tobytes() for answer in expected}) == THREADS
    before = [image.clone() for image in GIVEN]
    assert wrong_answers(lambda thread: backend.predict(GIVEN[thread]), expected, calls=calls) == 0
    assert all(torch.equal(image, same) for image, same in zip(GIVEN, before, strict=True))


@pytest.mark.parametrize("calls", [CALLS, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in EXPORTERS])
def test_an_export_answers_eight_threads_as_it_answers_one(
    name: str, calls: int, written: Callable[[str], Path]
) -> None:
    kind = EXPORTERS[name]
    skip_without(name, (*kind.makers, *kind.runners))
    if not kind.runs_here or (name == "tensorrt" and not torch.cuda.is_available()):
        pytest.skip(f"{name} does not run on this machine")
    check(open_export(written(name), torch.device("cuda", 0) if name == "tensorrt" else CPU), calls)


def test_pytorch_answers_eight_threads_as_it_answers_one() -> None:
    check(TorchBackend(colour_detector()))


def test_a_predictor_of_several_models_is_shared_by_threads(tmp_path: Path) -> None:
    model = load_runnable(checkpoint_of(colour_detector(), tmp_path / "best.safetensors"))
    settings = PredictionSettings(imgsz=96, conf_thres=0.001, augment=True)
    predictor = Predictor([model, colour_detector()], settings)
    given = [(image[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8) for image in GIVEN]

    def ask(thread: int) -> torch.Tensor:
        (found,) = predictor.predict([given[thread]])
        return torch.from_numpy(np.column_stack([found.boxes, found.scores, found.class_ids]))

    expected = [ask(thread) for thread in range(THREADS)]
    assert all(len(answer) > 5 for answer in expected)
    assert wrong_answers(ask, expected, calls=15) == 0
