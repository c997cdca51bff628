"""The application around a network that fails, or has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from http_asking import ask, png

from onelook.inference.predictor import PredictionSettings
from onelook.service.answers import ModelInfo
from onelook.service.app import create_app
from onelook.service.batching import Batcher, Image
from onelook.service.request_handler import Limits, RequestHandler, class_infos
from onelook.service.server import running
from onelook.structures.detections import Detections

NAMES = ("bee", "wasp")
IMAGE = png(20, 20, rows=20)


def fails_at_13_rows(images: Sequence[Image]) -> list[Detections]:
    if any(image.shape[0] == 13 for image in images):
        raise RuntimeError("secret: /a/path")
    return [Detections.empty() for _ in images]


@contextmanager
def asked() -> Iterator[tuple[str, Batcher]]:
    """The address of a service, and its batcher."""
    batcher = Batcher(fails_at_13_rows, batch_size=2, wait_seconds=0, max_pixels=10_000)
    limits = Limits(queue_size=4, max_bytes=10_000, max_pixels=10_000, upload_seconds=5)
    model = ModelInfo(
        name="bees", classes=class_infos(NAMES), imgsz=(64, 64), conf_thres=0.25, iou_thres=0.45, max_det=9,
        max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, version="0",
    )  # fmt: skip
    handler = RequestHandler(
        batcher,
        NAMES,
        settings=PredictionSettings(imgsz=(64, 64)),
        limits=limits,
        predict_with=lambda _: fails_at_13_rows,
    )
    app = create_app(handler, model)
    try:
        with running(app, "127.0.0.1", 0) as server:
            yield server.url, batcher
    finally:
        batcher.close()


def test_failure_is_said_without_its_details_and_the_service_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with asked() as (url, _):
        reply = ask(url, "POST", "/detect", png(13, 13, rows=13))
        assert reply.status == 500
        assert reply.json == {"error": "the service failed at this image", "hint": "its log has the reason"}
        assert "RuntimeError: secret: /a/path" in caplog.text
        good = ask(url, "POST", "/detect", IMAGE)
        assert (good.status, good.json["detections"], good.json["size"]) == (200, [], {"width": 20, "height": 20})
        health = ask(url, "GET", "/health")
        assert (health.status, health.json["answered"], health.json["failed"]) == (200, 1, 1)


def test_service_whose_network_has_ended_says_so() -> None:
    with asked() as (url, batcher):
        batcher.close()
        reply = ask(url, "GET", "/health")
        assert (reply.status, reply.json["status"]) == (503, "failed")
        assert ask(url, "POST", "/detect", IMAGE).status == 500


def test_colours_are_those_of_our_images_and_their_letters_readable() -> None:
    assert [(item.name, item.colour, item.text_colour) for item in class_infos(NAMES)] == [
        ("bee", "#d55e00", "#000000"),
        ("wasp", "#0072b2", "#ffffff"),
    ]
