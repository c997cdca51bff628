"""Batches: who goes with whom, what is decoded at a time, and whose fault a failure is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from http_asking import png

from onelook.files.image_headers import DamagedImage
from onelook.files.images import Image, decode_image
from onelook.service.batching import Batcher
from onelook.structures.detections import Detections

SMALL = png(20, 10, rows=10)
POISON = png(13, 13, rows=13)


@contextmanager
def batcher(look: Callable[[Sequence[Image]], None], **changes: Any) -> Any:
    """One that shows `look` each batch and finds nothing."""

    def predict(images: Sequence[Image]) -> list[Detections]:
        look(images)
        return [Detections.empty() for _ in images]

    made = Batcher(
        predict,
        **{"batch_size": 4, "wait_seconds": 0.0, "max_pixels": 10_000, "decoders": [decode_image] * 2, **changes},
    )
    try:
        yield made
    finally:
        made.close()


def test_images_that_wait_go_together_in_batches_of_the_size() -> None:
    gate, sizes = threading.Event(), []

    def look(images: Sequence[Image]) -> None:
        sizes.append(len(images))
        gate.wait(10)

    with batcher(look) as made:
        answers = [made.submit(SMALL, 200)]
        while not sizes:
            time.sleep(0.001)
        answers += [made.submit(SMALL, 200) for _ in range(9)]
        while len(made._ready) < 9:
            time.sleep(0.001)
        gate.set()
        looked = [answer.result(10) for answer in answers]
    assert sizes == [1, 4, 4, 1]
    assert sorted(item.batch for item in looked) == [1, 1, *[4] * 8]
    assert looked[0].size_hw == (10, 20) and len(looked[0].detections) == 0


def test_no_more_is_decoded_at_a_time_than_the_limit() -> None:
    held: list[int] = []
    with batcher(lambda images: held.append(sum(image.shape[0] * image.shape[1] for image in images)),
                 wait_seconds=0.05, max_pixels=450) as made:  # fmt: skip
        answers = [made.submit(SMALL, 200) for _ in range(6)]
        large = made.submit(png(40, 40, rows=40), 1600)  # more than the limit: alone
        for answer in [*answers, large]:
            answer.result(10)
    assert max(size for size in held if size != 1600) <= 400 and 1600 in held


def test_image_that_makes_the_network_fail_fails_alone() -> None:
    def look(images: Sequence[Image]) -> None:
        if any(image.shape[0] == 13 for image in images):
            raise RuntimeError("too odd")

    with batcher(look, wait_seconds=0.2) as made:
        good, bad, other = (made.submit(data, 200) for data in (SMALL, POISON, SMALL))
        assert (good.result(10).size_hw, other.result(10).size_hw) == ((10, 20), (10, 20))
        with pytest.raises(RuntimeError, match="too odd"):
            bad.result(10)
        assert made.is_alive and made.submit(SMALL, 200).result(10)


def test_image_that_cannot_be_decoded_leaves_its_place_to_others() -> None:
    with batcher(lambda images: None, max_pixels=200) as made:
        with pytest.raises(DamagedImage):
            made.submit(SMALL[:-20], 200).result(10)
        assert made.submit(SMALL, 200).result(10).batch == 1


def test_images_one_after_the_other_need_one_decoder() -> None:
    asked = []

    def decoder(number: int) -> Callable[[bytes], Image]:
        return lambda data: asked.append(number) or decode_image(data)  # type: ignore[func-returns-value]

    with batcher(lambda images: None, decoders=[decoder(0), decoder(1)]) as made:
        for _ in range(4):
            made.submit(SMALL, 200).result(10)
    assert asked == [1] * 4


def test_close_answers_what_was_given_and_skips_what_was_given_up() -> None:
    gate, seen = threading.Event(), []

    def look(images: Sequence[Image]) -> None:
        gate.wait(10)
        seen.extend(np.shape(image) for image in images)

    with batcher(look, decoders=[decode_image] * 1, max_pixels=200) as made:
        first, second, third = (made.submit(SMALL, 200) for _ in range(3))
        assert third.cancel()
        gate.set()
    assert first.done() and second.done() and len(seen) == 2
    assert not made.is_alive


def test_a_network_that_does_not_come_back_is_no_health(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = threading.Event(), threading.Event()

    def look(images: Sequence[Image]) -> None:
        begun.set()
        gate.wait(10)

    with batcher(look) as made:
        answer = made.submit(SMALL, 200)
        assert begun.wait(10) and made.is_alive
        monkeypatch.setattr("onelook.service.batching.STALL_SECONDS", 0.0)
        assert not made.is_alive
        gate.set()
        answer.result(10)
        monkeypatch.undo()
        assert made.submit(SMALL, 200).result(10) and made.is_alive


def test_close_gives_up_what_a_network_that_hangs_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onelook.service.batching.STALL_SECONDS", 0.0)
    monkeypatch.setattr("onelook.service.batching.CHECK_SECONDS", 0.01)
    gate, begun = threading.Event(), threading.Event()

    def look(images: Sequence[Image]) -> None:
        begun.set()
        gate.wait(10)

    with batcher(look, max_pixels=200) as made:
        first = made.submit(SMALL, 200)
        assert begun.wait(10)
        second = made.submit(SMALL, 200)  # waits for the pixels of the first
    assert not first.done() and isinstance(second.exception(10), TimeoutError)
    gate.set()
