"""What a request may ask for, what is refused by name, and what neither a slow image nor a client can do."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from http_asking import Reply, ask, form, found_by_library, png
from option_runs import Options, covers

from onelook.recipes.serve import Service, serve, serving

FILE = '; name="file"; filename="a.jpg"'


@pytest.fixture(scope="module")
def settings(tiny_weights: Path) -> Options:
    return {"weights": tiny_weights, "port": 0, "device": "cpu", "conf_thres": 0.001, "batch_wait": 0}


@pytest.fixture(scope="module")
def service(settings: Options) -> Iterator[Service]:
    with serving({**settings, "imgsz": 96}) as running:
        yield running


@pytest.fixture(scope="module")
def image(tiny_data: Path) -> Path:
    return tiny_data.parent / "images" / "val" / "000.jpg"


def detect(service: Service, data: bytes, query: str = "", **headers: str) -> Reply:
    return ask(service.url, "POST", f"/detect{query}", data, **headers)


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("iou_thres=0.1", {"iou_thres": 0.1}), ("max_det=3", {"max_det": 3}), ("classes=1", {"classes": (1,)}),
        ("classes=disc", {"classes": (1,)}), ("classes=0&classes=1", {}), ("classes=0,disc", {}),
        ("imgsz=64", {"imgsz": 64}), ("imgsz=64,96", {"imgsz": (64, 96)}),
        ("iou_thres=0.2&max_det=5", {"iou_thres": 0.2, "max_det": 5}),
    ],
)  # fmt: skip
def test_known_fields_act_in_query_and_form(
    query: str, asked: Options, service: Service, image: Path, settings: Options
) -> None:
    data = image.read_bytes()
    (expected,) = found_by_library(settings["weights"], [image], **{"imgsz": 96, "conf_thres": 0.001, **asked})
    fields = [field.split("=") for field in query.split("&")]
    body, kind = form(*((f'; name="{name}"', text.encode()) for name, text in fields), (FILE, data))
    for reply in (detect(service, data, f"?{query}"), detect(service, body, content_type=kind)):
        assert reply.status == 200, reply.body
        np.testing.assert_allclose([found["box"] for found in reply.json["detections"]], expected.boxes, atol=0.006)


@pytest.mark.parametrize(
    ("query", "status", "says", "hint"),
    [
        ("?conf=0.5", 422, "`conf` is not a field of a request", "did you mean `conf_thres`?"),
        ("?iou_thresh=0.5", 422, "`iou_thresh` is not a field", "did you mean `iou_thres`?"),
        ("?a=b", 422, "`a` is not a field", "known are"),
        ("?max_det=2&max_det=3", 422, "`max_det` is given twice", ""),
        ("?max_det=0", 400, "`max_det`: input should be greater than or equal to 1", ""),
        ("?max_det=100000", 400, "`max_det` is 100000; 1 to 1000 can be asked for", "--max-det"),
        ("?imgsz=128", 400, "`imgsz` is 128 x 128; up to 96 x 96", "--imgsz"),
        ("?imgsz=65", 400, "the model needs multiples of 32", "use"),
        ("?imgsz=1,2,3", 400, "`imgsz`", ""),
        ("?iou_thres=nan", 400, "`iou_thres`", ""),
        ("?classes=bee", 400, "`classes` names `bee`", "known are"),
        ("?classes=2", 400, "`classes` names `2`", ""),
    ],
)
def test_fields_that_cannot_be_followed_are_refused(
    query: str, status: int, says: str, hint: str, service: Service, image: Path
) -> None:
    reply = detect(service, image.read_bytes(), query)
    assert (reply.status, says in reply.json["error"]) == (status, True), reply.body
    assert hint in reply.json.get("hint", "")


def test_a_text_field_called_filename_is_no_file(service: Service, image: Path) -> None:
    body, kind = form(('; name="filename"', image.read_bytes()[:100]))
    assert "the form has no file" in detect(service, body, content_type=kind).json["error"]
    body, kind = form(('; name="filename"', b"x"), (FILE, image.read_bytes()))
    reply = detect(service, body, content_type=kind)
    assert (reply.status, "`filename` is not a field" in reply.json["error"]) == (422, True)


def test_two_files_are_two_answers(service: Service, image: Path) -> None:
    data, other = image.read_bytes(), image.with_name("001.jpg").read_bytes()
    body, kind = form((FILE, data), (FILE, other))
    before = ask(service.url, "GET", "/health").json["answered"]
    answers = detect(service, body, content_type=kind).json
    expected = [detect(service, one).json["detections"] for one in (data, other)]
    assert [answer["detections"] for answer in answers] == expected and expected[0] != expected[1]
    assert ask(service.url, "GET", "/health").json["answered"] == before + 4


def test_the_bad_one_of_several_files_is_named(service: Service, image: Path) -> None:
    body, kind = form((FILE, image.read_bytes()), (FILE, b"no image"))
    reply = detect(service, body, content_type=kind)
    assert reply.status == 422 and reply.json["error"].startswith("file 2 of 2: this image cannot be used")
    assert "file" not in detect(service, b"no image").json["error"]


def test_health_can_be_asked_by_head(service: Service) -> None:
    reply = ask(service.url, "HEAD", "/health")
    assert (reply.status, reply.body) == (200, b"")


def test_an_upload_that_is_too_long_is_cut(service: Service) -> None:
    place = urlsplit(service.url)
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=20) as line:
        line.sendall(b"POST /detect HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(OSError):
            for _ in range(200):
                line.sendall(chunk)


def test_a_client_that_leaves_is_no_failure(service: Service) -> None:
    place = urlsplit(service.url)
    before = ask(service.url, "GET", "/health").json
    with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=5) as line:
        line.sendall(b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        while not ask(service.url, "GET", "/health").json["waiting"]:
            pass
    while (after := ask(service.url, "GET", "/health").json)["waiting"]:
        pass
    assert (after["left"], after["failed"]) == (before["left"] + 1, before["failed"])


@pytest.fixture(scope="module")
def slow() -> bytes:
    """A progressive JPEG that takes long to decode."""
    noise = np.random.default_rng(0).integers(0, 256, (4000, 6000, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


@covers("serve", "decode_seconds")
def test_an_image_that_takes_too_long_is_given_up_and_others_are_answered(settings: Options, slow: bytes) -> None:
    with serving({**settings, "decode_seconds": 0.3}) as service:
        reply = detect(service, slow)
        assert (reply.status, "decoding it takes longer than 0.3 seconds" in reply.json["error"]) == (422, True)
        small = png(40, 40, rows=40)
        while detect(service, small).status != 200:  # on a busy machine 0.3 s may be little for any image
            pass
        assert ask(service.url, "GET", "/health").json["status"] == "ok"


def test_a_signal_ends_the_service_though_an_image_is_being_decoded(settings: Options, slow: bytes) -> None:
    """Its process is killed after `decode_seconds`, and the service never waits for longer."""

    def client(url: str) -> int:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, url, "POST", "/detect", slow)
            while not ask(url, "GET", "/health").json["waiting"]:
                pass
            told.append(ask(url, "GET", "/health").json["status"])
            os.kill(os.getpid(), signal.SIGTERM)
            return asked.result().status

    told: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        answers: list[Future[int]] = []
        done = serve(
            {**settings, "imgsz": 64, "decode_seconds": 0.2},
            on_start=lambda service: answers.append(pool.submit(client, service.url)),
        )
        assert (answers[0].result(), told) == (422, ["ok"])
    assert (done.answered, done.refused, done.waiting) == (0, 1, 0)


def test_all_requests_in_flight_are_answered_at_the_end(settings: Options, image: Path) -> None:
    data, num_clients = image.read_bytes(), 40
    sent = threading.Barrier(num_clients + 1, timeout=60)

    def client(url: str) -> int:
        place = urlsplit(url)
        connection = HTTPConnection(place.hostname or "", place.port, timeout=60)
        connection.connect()
        sent.wait()
        connection.request("POST", "/detect", data)
        return connection.getresponse().status

    def stop() -> None:
        sent.wait()
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(num_clients + 1) as pool:
        asked: list[Future[int]] = []

        def start(service: Service) -> None:
            asked.extend(pool.submit(client, service.url) for _ in range(num_clients))
            pool.submit(stop)

        done = serve({**settings, "imgsz": 64}, on_start=start)
        assert [one.result() for one in asked] == [200] * num_clients
    assert (done.answered, done.refused, done.failed) == (num_clients, 0, 0)


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /health HTTP/1.1\r\nX: ", b"\x07" * 300, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /"],
)
def test_a_head_that_does_not_end_ends_the_connection(
    begun: bytes, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelook.service.server.HEAD_SECONDS", 0.3)
    place = urlsplit(service.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as client:
        client.sendall(begun)
        answers = b""
        while received := client.recv(1 << 16):  # raises TimeoutError where the service waits
            answers += received
    assert answers.count(b"HTTP/1.1 200 OK") == begun.count(b"/health HTTP/1.1\r\nHost")
    assert ask(service.url, "GET", "/health").json["status"] == "ok"
