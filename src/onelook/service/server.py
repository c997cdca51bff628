"""Runs a uvicorn server: binds the address, serves in a thread, and shuts down in order."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from onelook.errors import SettingsError
from onelook.service.guard import MAX_HEAD_BYTES, App

BACKLOG = 256
GRACE_SECONDS = 0.5
"""At shutdown, time for requests on their way to arrive."""
HEAD_SECONDS = 10.0
"""Time limit for the head of a request, so that idle connections cannot shut out others."""
STOP_SECONDS = 30
"""At shutdown, time limit for requests in work."""
_HINTS = {
    errno.EADDRINUSE: "choose another `--port`; 0 takes a free one",
    errno.EACCES: "ports below 1024 are for the system: choose another `--port`",
    errno.EADDRNOTAVAIL: "`--host` must be an address of this machine; 0.0.0.0 stands for all of them",
}


class _Protocol(H11Protocol):
    """uvicorn's protocol that also closes connections whose request head is not complete in time."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._rest()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Running:
    """A uvicorn server in a thread."""

    def __init__(self, server: uvicorn.Server, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._server = server
        self._thread = threading.Thread(target=server.run, args=([listener],), name="onelook-serve", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; whether the server still runs."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def stop(self) -> None:
        """Answer the requests in work and on their way, then end."""
        self._thread.join(GRACE_SECONDS)
        self._server.should_exit = True
        self._thread.join()


@contextmanager
def running(app: App, host: str, port: int) -> Iterator[Running]:
    """Serve `app` at an address while the block runs.

    Args:
        port: 0 takes a free one.

    Raises:
        SettingsError: the address cannot be used.
    """
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # our own messages say what is wrong with a form
    listener = _listener(host, port)
    config = uvicorn.Config(
        app,  # type: ignore[arg-type, unused-ignore]
        log_config=None,
        log_level="critical",  # we log ourselves
        access_log=False,
        lifespan="off",
        http=_Protocol,  # h11's: the alternative, httptools, accepts heads of any length
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = Running(uvicorn.Server(config), listener)
    try:
        yield server
    finally:
        server.stop()


def _reason(problem: OSError) -> str:
    """The reason, without the address that Python adds to some."""
    if isinstance(problem, socket.gaierror) or problem.errno is None:  # `os.strerror` does not know gaierrors
        return problem.strerror or str(problem)
    return os.strerror(problem.errno)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)  # type: ignore[arg-type, unused-ignore]
    except OSError as problem:
        raise SettingsError(
            f"cannot listen at `{host}` port {port}: {_reason(problem)}",
            hint=_HINTS.get(problem.errno or 0, "`--host 127.0.0.1` is this machine"),
        ) from problem
