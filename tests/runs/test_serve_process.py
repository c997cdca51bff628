"""The command itself: many requests at a time, forged images, and its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from command_runs import texts
from http_asking import Reply, ask, found_by_library, png

from onelook.cli.main import main
from onelook.recipes.serve import serve

CONCURRENCY, REQUESTS = 16, 60
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Command:
    """A running `onelook serve`."""

    process: subprocess.Popen[str]
    url: str

    @property
    def seconds(self) -> float:
        """Processor time of it and of the processes that decode for it."""
        place = Path(f"/proc/{self.process.pid}")
        decoding = [pid for task in place.glob("task/*/children") for pid in text_of(task).split()]
        stats = [text_of(Path(f"/proc/{pid}/stat")) for pid in (self.process.pid, *decoding)]
        ticks = sum(int(field) for stat in stats for field in stat.rpartition(")")[2].split()[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def peak_bytes(self) -> int:
        """Most memory that it has held."""
        return self._bytes("VmHWM")

    @property
    def held_bytes(self) -> int:
        """Memory that it holds now."""
        return self._bytes("VmRSS")

    def _bytes(self, what: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.findall(rf"{what}:\s+(\d+)", status)[0])


def text_of(path: Path) -> str:
    """What a file below `/proc` says; nothing if its thread or process has just ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def words(weights: Path, *more: object) -> list[str]:
    return texts(
        "serve", "--weights", weights, "--port", 0, "--img", 64, "--device", "cpu", "--conf-thres", 0.001, *more
    )


@pytest.fixture(scope="module")
def command(tiny_weights: Path) -> Iterator[Command]:
    process = subprocess.Popen(
        [sys.executable, "-m", "onelook", *words(tiny_weights)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+$", line.strip())
        assert found, line
        yield Command(process, found[0])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert re.search(
            r"^stopped: \d+ images answered; requests: \d+ refused, 0 failed$", process.stdout.read(), re.MULTILINE
        )
    finally:
        process.kill()
        process.wait()


def test_many_requests_at_a_time_are_all_answered_rightly(
    command: Command, tiny_data: Path, tiny_weights: Path
) -> None:
    paths = sorted((tiny_data.parent / "images").rglob("*.jpg"))
    images = [path.read_bytes() for path in paths]
    expected = found_by_library(tiny_weights, paths, imgsz=64, conf_thres=0.001)
    assert len({found.boxes.tobytes() for found in expected}) == len(paths)
    before = ask(command.url, "GET", "/health").json["answered"]

    def answer(number: int) -> Reply:
        return ask(command.url, "POST", "/detect", images[number % len(images)])

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        replies = list(pool.map(answer, range(REQUESTS)))
    for number, reply in enumerate(replies):
        assert reply.status == 200, reply.body
        boxes = [found["box"] for found in reply.json["detections"]]
        np.testing.assert_allclose(boxes, expected[number % len(paths)].boxes, atol=0.02)
    assert max(reply.json["batch"] for reply in replies) > 1
    assert ask(command.url, "GET", "/health").json["answered"] == before + REQUESTS


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("a bomb: 900 megapixels in a file", png(30_000, 30_000, rows=300)),
        ("a bomb below the limit of pixels", png(4990, 4990, rows=10)),
        ("2.4 kB, of which a chunk claims 2 GB", png(1500, 1500, rows=1500, forged_length=0x7FFFFFF0)),
        ("2.4 kB, of which a chunk claims 300 MB", png(1500, 1500, rows=1500, forged_length=300_000_000)),
    ],
)
def test_forged_images_cost_neither_time_nor_memory(command: Command, kind: str, data: bytes) -> None:
    assert ask(command.url, "POST", "/detect", png(40, 40, rows=40)).status == 200
    before = command.peak_bytes
    seconds = []
    for _ in range(3):
        mark = command.seconds
        assert ask(command.url, "POST", "/detect", data).status in (413, 422)
        seconds.append(command.seconds - mark)
    assert min(seconds) < 0.1, f"{kind}: {len(data)} bytes took {seconds} s"
    assert command.peak_bytes - before < 300 * MEBIBYTE


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
@pytest.mark.parametrize("requests", [50, pytest.param(5000, marks=pytest.mark.slow)])
def test_mixed_requests_leave_memory_flat(command: Command, requests: int, tiny_data: Path) -> None:
    good = [path.read_bytes() for path in sorted((tiny_data.parent / "images").rglob("*.jpg"))]
    kinds: list[tuple[str, str, bytes, int]] = [
        *(("POST", "/detect", data, 200) for data in good[:6]), ("POST", "/detect?max_det=2", good[0], 200),
        ("POST", "/detect", good[0][:400], 422), ("POST", "/detect", b"", 400), ("POST", "/detect", b"GIF89a", 422),
        ("POST", "/detect", png(30_000, 30_000, rows=300), 413), ("POST", "/detect?conf=1", good[0], 422),
        ("GET", "/health", b"", 200), ("HEAD", "/health", b"", 200), ("GET", "/model", b"", 200),
        ("GET", "/", b"", 200), ("GET", "/none", b"", 404),
    ]  # fmt: skip

    def wrong(number: int) -> int:
        method, path, data, status = kinds[number % len(kinds)]
        return int(ask(command.url, method, path, data).status != status)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(wrong, range(4 * len(kinds)))) == 0
        before = command.held_bytes
        assert sum(pool.map(wrong, range(requests))) == 0
    assert command.held_bytes - before < 30 * MEBIBYTE


def test_signal_ends_it_after_the_answers(tiny_weights: Path, tiny_data: Path) -> None:
    """What is inside is answered; what comes later is not let in."""
    data = next((tiny_data.parent / "images" / "val").iterdir()).read_bytes()

    def client(url: str) -> int:
        place = urlsplit(url)
        connection = HTTPConnection(place.hostname or "", place.port, timeout=20)
        connection.putrequest("POST", "/detect")
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data[:100])
        while not ask(url, "GET", "/health").json["waiting"]:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(ConnectionError):
            while True:
                ask(url, "GET", "/health")
        connection.send(data[100:])
        return connection.getresponse().status

    with ThreadPoolExecutor(1) as pool:
        asked: list[Future[int]] = []
        given = {"weights": tiny_weights, "port": 0, "imgsz": 64, "device": "cpu"}
        done = serve(given, on_start=lambda service: asked.append(pool.submit(client, service.url)))
        assert asked[0].result() == 200
    assert (done.answered, done.refused, done.failed) == (1, 0, 0)


def test_missing_package_is_named_with_its_cure(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(words(tiny_weights)) == 64
    assert capsys.readouterr().err.endswith('hint: pip install "onelook[serve]"\n')


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--weights", "none.pt"), 3, "weights `none.pt` do not exist"),
        (("--port", 70000), 64, "port"),
        (("--host", "no such name"), 64, "cannot listen at `no such name` port 0"),
        (("--img", 65), 64, "use 96"),
        (("--queue-size", 0), 64, "queue_size"),
        (("--max-pixels", 2_000_000_000), 64, "max_pixels"),
        (("--prot", 8000), 2, "did you mean `--port`?"),
        (("--settings", "none.yaml"), 64, "none.yaml"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_named(
    tiny_weights: Path, more: tuple[object, ...], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tiny_weights, *more)) == code
    written = capsys.readouterr()
    assert says in written.err and written.err.count("error: ") == 1 and written.out == ""
