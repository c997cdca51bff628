"""A server for files on this machine, and how to trust it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from onelook.files.web import Transport

PEM = Path(__file__).parent / "localhost.pem"


def trusting(timeout_s: float = 10.0, *, allow_private: bool = True) -> Transport:
    """A transport that takes the server's certificate and, unless told otherwise, its address."""
    return Transport(ssl.create_default_context(cafile=str(PEM)), timeout_s, allow_private)


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that hang up, as those here do on purpose."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that answers with `handler` meanwhile."""
    server = _Quiet(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serving_files(files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """The address of a server with these files, by path, and the list of what it is asked for."""
    asked: list[str] = []

    class Files(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            found = files.get(self.path)
            body = found if found is not None else b"not here"
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Files) as address:
        yield address, asked
