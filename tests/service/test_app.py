"""The application around a network that fails, or has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from http_asking import ask, form, png

from onelook.files.images import Image, decode_image
from onelook.inference.predictor import PredictionSettings
from onelook.service.answers import ModelInfo
from onelook.service.app import create_app
from onelook.service.batching import Batcher, Predict
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
def asked(predict: Predict = fails_at_13_rows) -> Iterator[tuple[str, Batcher]]:
    """The address of a service, and its batcher."""
    batcher = Batcher(predict, batch_size=2, wait_seconds=0, max_pixels=10_000, decoders=[decode_image])
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
        predict_with=lambda _: predict,
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
        (said,) = (record for record in caplog.records if record.levelname == "ERROR")
        assert said.exc_info and str(said.exc_info[1]) == "secret: /a/path", "with its traceback, and once"
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


def moves_with_the_height(images: Sequence[Image]) -> list[Detections]:
    """A box in each image, further to the right the higher the image is; a second one, weak, stands still."""
    corners = [[[2.0 * image.shape[0], 10, 2.0 * image.shape[0] + 30, 40], [5, 60, 25, 80]] for image in images]
    scores, class_ids = np.array([0.9, 0.15], np.float32), np.array([0, 1])
    return [Detections(np.array(each, np.float32), scores, class_ids) for each in corners]


def test_objects_of_a_video_keep_their_ids_from_frame_to_frame() -> None:
    with asked(moves_with_the_height) as (url, _):

        def ids(height: int, query: str = "") -> list[tuple[str, int | None]]:
            reply = ask(url, "POST", f"/detect{query}", png(20, height, rows=height))
            assert reply.status == 200, reply.json
            return [(one["name"], one.get("object_id")) for one in reply.json["detections"]]

        assert ids(10, "?track=street") == [("bee", 1)], "the weak one begins no track"
        assert ids(11, "?track=street") == [("bee", 1)]
        assert ids(60, "?track=street") == [("bee", 2)], "one that is elsewhere is another one"
        assert ids(61, "?track=yard") == [("bee", 1)], "another video"
        assert ids(12) == [("bee", None)], "an image alone has no ids"
        body, kind = form(*[('; name="file"; filename="a.png"', png(20, 12, rows=12))] * 2)
        reply = ask(url, "POST", "/detect?track=street", body, **{"Content-Type": kind})
        assert (reply.status, reply.json["error"]) == (400, "`track` takes one frame at a time")
