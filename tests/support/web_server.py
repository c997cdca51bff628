"""A web server on this machine, for tests of what is fetched: it sends what a test tells it to, then breaks off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from onelook.files.images import encode_image

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class WebServer:
    """What it is called and what it was asked.

    Attributes:
        address: `http://127.0.0.1:PORT`.
        asked: paths, in order.
        headers: those of each request.
    """

    address: str = ""
    asked: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)


@contextmanager
def serving(answer: Answer) -> Iterator[WebServer]:
    """A server that answers every request by `answer`, in a thread of its own."""
    server = WebServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            server.headers.append(dict(self.headers))
            try:
                answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # who asked has gone

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        server.address = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def send(
    request: BaseHTTPRequestHandler, body: bytes = b"", *, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """A whole answer; its length is announced unless `headers` say another."""
    request.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def send_images(request: BaseHTTPRequestHandler, levels: Iterator[int] | list[int]) -> None:
    """A stream of JPEGs, 96 x 64 pixels, each of one grey level, then the connection breaks off."""
    request.send_response(200)
    request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
    request.end_headers()
    for level in levels:
        data = encode_image(np.full((64, 96, 3), level, np.uint8), ".jpg")
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        request.wfile.write(head.encode() + data + b"\r\n")
