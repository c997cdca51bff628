"""The service, asked over HTTP: answers, refusals, and every setting."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from http_asking import Reply, ask, form, found_by_library, png
from option_runs import Options, covers

from onelook.errors import SettingsError
from onelook.recipes.export import export
from onelook.recipes.serve import Service, serving

Start = Callable[..., Service]


@pytest.fixture(scope="module")
def settings(tiny_weights: Path) -> Options:
    return {"weights": tiny_weights, "port": 0, "imgsz": 64, "device": "cpu", "conf_thres": 0.001, "batch_wait": 0}


@pytest.fixture(scope="module")
def service(settings: Options) -> Iterator[Service]:
    with serving(settings) as running:
        yield running


@pytest.fixture
def start(settings: Options) -> Iterator[Start]:
    """Starts a service with other settings."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(serving({**settings, **changes}))


@pytest.fixture(scope="module")
def image(tiny_data: Path) -> Path:
    return tiny_data.parent / "images" / "val" / "000.jpg"


def detect(service: Service, data: bytes, query: str = "", **headers: str) -> Reply:
    return ask(service.url, "POST", f"/detect{query}", data, **headers)


def middle(scores: list[float]) -> float:
    """A number that is none of these, with some above and some below."""
    ordered = sorted(set(scores))
    return sum(ordered[len(ordered) // 2 - 1 :][:2]) / 2


def boxes_of(reply: Reply) -> list[list[float]]:
    assert reply.status == 200, reply.body
    return [found["box"] for found in reply.json["detections"]]


def test_answer_is_that_of_the_library(service: Service, image: Path, settings: Options) -> None:
    reply = detect(service, image.read_bytes(), content_type="image/jpeg")
    found = found_by_library(settings["weights"], [image], imgsz=64, conf_thres=0.001)[0]
    answer = reply.json
    assert len(found) > 5 and reply.headers["content-type"] == "application/json"
    assert [item["class_id"] for item in answer["detections"]] == found.class_ids.tolist()
    assert {item["name"] for item in answer["detections"]} <= {"square", "disc"}
    np.testing.assert_allclose([item["box"] for item in answer["detections"]], found.boxes, atol=0.006)
    np.testing.assert_allclose([item["score"] for item in answer["detections"]], found.scores, atol=6e-6)
    assert (answer["size"], answer["batch"]) == ({"width": 96, "height": 96}, 1)
    assert answer["milliseconds"]["total"] >= answer["milliseconds"]["predict"] > 0


def test_heads_of_requests_have_a_limit(service: Service) -> None:
    """A head without an end is refused as soon as it is too long, whoever sends how slowly."""
    assert ask(service.url, "GET", "/health", x_much="a" * 20_000).status == 200
    place = urlsplit(service.url)
    whole = ask(service.url, "GET", "/health", x_much="a" * 40_000)
    assert (whole.status, whole.headers.get("connection")) == (431, "close")
    with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=5) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Much: " + b"a" * 40_000)
        assert line.recv(100).startswith(b"HTTP/1.1 400 ")


def test_form_and_other_types_give_the_same(service: Service, image: Path) -> None:
    data = image.read_bytes()
    expected = boxes_of(detect(service, data))
    body, kind = form(('; name="max_det"', b"300"), ('; name="file"; filename="a b.jpg"', data))
    assert boxes_of(detect(service, body, content_type=kind)) == expected
    assert boxes_of(detect(service, data, content_type="application/x-www-form-urlencoded")) == expected


def test_request_may_ask_for_a_larger_score(service: Service, image: Path) -> None:
    data = image.read_bytes()
    scores = [found["score"] for found in detect(service, data).json["detections"]]
    least = middle(scores)
    fewer = [found["score"] for found in detect(service, data, f"?conf_thres={least}").json["detections"]]
    assert fewer == [score for score in scores if score > least] and 0 < len(fewer) < len(scores)


@pytest.mark.parametrize(
    ("data", "query", "status", "says"),
    [
        (b"", "", 400, "no image was sent"),
        (b"GIF89a" + bytes(99), "", 422, "a GIF"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "", 422, "cannot be used"),
        (png(4000, 4000, rows=4000), "?conf_thres=2", 400, "`conf_thres`: input should be less than or equal to 1"),
        (png(40, 40, rows=40), "?conf_thres=0.0001", 400, "`conf_thres` is 0.0001; 0.001 to 1 can be asked for"),
        (png(40, 40, rows=40), "?conf_thres=much", 400, "`conf_thres`: input should be a valid number"),
        (png(20_000, 20_000, rows=20), "", 413, "20000 x 20000 pixels, more than the limit of 25,000,000"),
        (png(4000, 4000, rows=4), "", 422, "cannot be used"),
        (png(40, 40, rows=40, forged_length=0x7FFFFFF0), "", 422, "cannot be used"),
        (bytes(40_000_000), "", 413, "more than the limit of 16,000,000 bytes"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(
    service: Service, data: bytes, query: str, status: int, says: str
) -> None:
    reply = detect(service, data, query)
    assert (reply.status, set(reply.json) <= {"error", "hint"}) == (status, True), reply.body
    assert says in reply.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/detect", 405, "`GET /detect`: method not allowed"),
        ("GET", "/docs", 404, "`GET /docs`: not found"),
        ("GET", "/../settings.py", 404, "not found"),
        ("GET", "/%2e%2e/app.py", 404, "not found"),
    ],
)
def test_other_addresses_do_not_exist(service: Service, method: str, path: str, status: int, says: str) -> None:
    reply = ask(service.url, method, path)
    assert reply.status == status and says in reply.json["error"]


def test_upload_without_a_length_is_bounded_too(service: Service) -> None:
    reply = ask(service.url, "POST", "/detect", (bytes(1 << 20) for _ in range(17)))  # type: ignore[arg-type]
    assert (reply.status, "16,000,000 bytes" in reply.json["error"]) == (413, True)


def test_service_describes_itself(service: Service) -> None:
    model = ask(service.url, "GET", "/model").json
    assert [kind["name"] for kind in model["classes"]] == ["square", "disc"]
    assert model["classes"][0]["colour"] == "#d55e00" and model["imgsz"] == [64, 64]
    description = ask(service.url, "GET", "/openapi.json").json
    assert set(description["paths"]) == {"/detect", "/health", "/model"}
    answers = description["paths"]["/detect"]["post"]["responses"]
    one_or_several = answers["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert one_or_several[0]["$ref"].endswith("/Answer") and one_or_several[1]["type"] == "array"
    assert {"400", "408", "413", "422", "503"} <= set(answers)


def test_health_counts_what_was_done(start: Start, image: Path) -> None:
    service = start()
    detect(service, image.read_bytes())
    detect(service, b"none")
    detect(service, bytes(17_000_000))
    assert ask(service.url, "GET", "/health").json == {
        "status": "ok", "waiting": 0, "answered": 1, "refused": 2, "failed": 0, "left": 0,
    }  # fmt: skip


def test_answers_forbid_browsers_what_the_page_does_not_need(service: Service) -> None:
    for path in ("/", "/page.js", "/page.css", "/model", "/none"):
        headers = ask(service.url, "GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert "server" not in headers and "access-control-allow-origin" not in headers


@covers("serve", "weights", "host", "port")
def test_service_is_where_it_was_asked_for(start: Start, service: Service, image: Path) -> None:
    other = start(host="::1")
    assert other.url.startswith("http://[::1]:")
    assert boxes_of(detect(other, image.read_bytes())) == boxes_of(detect(service, image.read_bytes()))
    taken = int(service.url.rsplit(":", 1)[1])
    with pytest.raises(SettingsError, match=f"`127.0.0.1` port {taken}: Address already in use\nhint: .*`--port`"):
        start(port=taken)
    with pytest.raises(SettingsError, match=r"cannot listen at `192\.0\.2\.1` port 0: .*\nhint: `--host` must be"):
        start(host="192.0.2.1")
    with pytest.raises(SettingsError, match="cannot listen at `no such name` port 0"):
        start(host="no such name")


@covers("serve", "allowed_hosts")
def test_service_is_asked_by_known_names_only(start: Start, service: Service, image: Path) -> None:
    assert ask(service.url, "GET", "/health", host="localhost:8000").status == 200
    reply = ask(service.url, "GET", "/health", host="evil.example")
    assert (reply.status, "`--allowed-hosts`" in reply.json["hint"]) == (421, True)
    named = start(allowed_hosts=["Bees.example"])
    assert ask(named.url, "GET", "/health", host="bees.example:80").status == 200
    assert ask(named.url, "GET", "/health").status == 421


def test_public_service_warns_and_takes_any_name(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = start(host="0.0.0.0")
    assert "`host` is 0.0.0.0: anyone who can reach" in caplog.text
    port = service.url.rsplit(":", 1)[1]
    assert ask(f"http://127.0.0.1:{port}", "GET", "/health", host="bees.example").status == 200


@covers("serve", "imgsz", "conf_thres", "iou_thres", "max_det", "classes", "agnostic_nms")
@pytest.mark.parametrize(
    "asked",
    [
        {"imgsz": [96]}, {"iou_thres": 0.1, "agnostic_nms": True},
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in [{"conf_thres": "middle"}, {"iou_thres": 0.1}, {"max_det": 3}, {"classes": [1]}]
        ),
    ],
    ids=str,
)  # fmt: skip
def test_detections_are_those_that_the_settings_ask_for(
    start: Start, service: Service, image: Path, settings: Options, asked: Options
) -> None:
    data = image.read_bytes()
    plain = detect(service, data)
    if "conf_thres" in asked:
        asked = {"conf_thres": middle([found["score"] for found in plain.json["detections"]])}
    boxes = boxes_of(detect(start(**asked), data))
    changed = {"imgsz": 96} if "imgsz" in asked else {"classes": (1,)} if "classes" in asked else asked
    expected = found_by_library(settings["weights"], [image], **{"imgsz": 64, "conf_thres": 0.001, **changed})
    np.testing.assert_allclose(boxes, expected[0].boxes, atol=0.006)
    assert boxes != boxes_of(plain)
    if "agnostic_nms" in asked:
        assert boxes != boxes_of(detect(start(iou_thres=0.1), data))


@covers("serve", "device")
def test_device_is_asked_for(start: Start) -> None:
    with pytest.raises(Exception, match="device"):
        start(device="cuda:99")


@covers("serve", "batch_size", "batch_wait")
def test_images_that_come_together_go_together(start: Start, image: Path) -> None:
    service, data = start(batch_size=3, batch_wait=1000), image.read_bytes()
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: detect(service, data), range(6)))
    assert [reply.json["batch"] for reply in replies] == [3] * 6
    alone = detect(start(batch_wait=60), data).json
    assert alone["batch"] == 1 and alone["milliseconds"]["wait"] > 55


@covers("serve", "queue_size", "upload_seconds")
def test_full_service_says_when_to_come_again(start: Start, image: Path) -> None:
    service, sent = start(queue_size=1, upload_seconds=0.5), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"\xff\xd8"
        sent.wait(20)
        yield b"too late"

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, service.url, "POST", "/detect", slowly())  # type: ignore[arg-type]
        while not ask(service.url, "GET", "/health").json["waiting"]:
            pass
        reply = detect(service, image.read_bytes())
        while ask(service.url, "GET", "/health").json["waiting"]:
            pass
        sent.set()
        with suppress(BrokenPipeError, ConnectionResetError):  # it is cut if it still sends after the refusal
            assert (slow.result().status, "longer than 0.5 seconds" in slow.result().json["error"]) == (408, True)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert reply.json["error"] == "the service already has as many requests as it takes (1)"
    assert detect(service, image.read_bytes()).status == 200


@covers("serve", "max_megabytes", "max_pixels")
def test_limits_of_an_image_are_those_of_the_settings(start: Start) -> None:
    service = start(max_megabytes=0.002, max_pixels=10_000)
    assert detect(service, png(100, 100, rows=100)).status == 200
    large = detect(service, png(101, 100, rows=100))
    assert (large.status, "101 x 100 pixels, more than the limit of 10,000" in large.json["error"]) == (413, True)
    noise = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8))[1].tobytes()
    assert (detect(service, noise).status, len(noise) > 2000) == (413, True)


def test_unusable_settings_are_named(start: Start) -> None:
    for changes, says in (
        ({"weights": "none.safetensors"}, "none.safetensors"),
        ({"imgsz": [65]}, "imgsz"),
        ({"half": True}, "half"),
        ({"port": 65536}, "port"),
        ({"classes": [2]}, "classes"),
    ):
        with pytest.raises(Exception, match=says):
            start(**changes)


def test_exported_model_is_served_like_its_checkpoint(
    start: Start, service: Service, image: Path, settings: Options, tmp_path: Path
) -> None:
    weights = tmp_path / "shapes.safetensors"
    weights.write_bytes(Path(settings["weights"]).read_bytes())
    export({"weights": weights, "format": ["torchscript"], "imgsz": [64], "device": "cpu"})
    exported = start(weights=weights.with_suffix(".torchscript"))
    np.testing.assert_allclose(
        boxes_of(detect(exported, image.read_bytes())), boxes_of(detect(service, image.read_bytes())), atol=0.02
    )
