"""Around the whole service: who may ask, and what browsers may do with its answers."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Pages may load from where they come from and from nowhere else; `blob:` is the image that was dropped.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
MAX_HEAD_BYTES = 1 << 15
"""Of a request: method, address and headers."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_names(host: str, allowed_hosts: Sequence[str]) -> frozenset[str] | None:
    """The names by which the service may be asked; None means all.

    A service for this machine alone is asked by the names of this machine alone. Otherwise a page from anywhere, whose
    name is made to lead to this machine, could ask it through the browser of whoever visits that page.
    """
    if allowed_hosts:
        return frozenset(name.lower() for name in allowed_hosts)
    return frozenset((host, *LOOPBACK_NAMES)) if is_loopback(host) else None


class Guard:
    """An application that refuses strange names of the host and pages of other sites, and adds headers to all answers.

    Args:
        names: see `allowed_names`.
        policy: what pages may do.
    """

    def __init__(self, app: App, names: frozenset[str] | None, *, policy: str = POLICY) -> None:
        self._app = app
        self._names = names
        self._headers = ((b"content-security-policy", policy.encode()), *HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it: 421 for a strange name, 403 for the page of another site."""

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        if scope["type"] == "http" and _head_bytes(scope) > MAX_HEAD_BYTES:
            text = f"the head of the request has more than {MAX_HEAD_BYTES} bytes"
            await _refuse(431, text, "send shorter headers", send_with_headers)
            return
        host, origin = _header(scope, b"host"), _header(scope, b"origin")
        if scope["type"] == "http" and self._names is not None and _without_port(host).lower() not in self._names:
            await _refuse(
                421, "this service is not asked by that name", "name it with `--allowed-hosts`", send_with_headers
            )
        elif scope["type"] == "http" and origin and origin.split("://")[-1] != host:
            await _refuse(403, f"pages of {origin} may not ask this service", "ask from a program", send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def _head_bytes(scope: Scope) -> int:
    """Of the method, the address and the headers, as they were sent."""
    headers = sum(len(name) + len(value) + 4 for name, value in scope.get("headers", []))
    return headers + len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value for name, value in scope.get("headers", []) if name == wanted), b"").decode("latin-1")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].split("]")[0]
    return host.rsplit(":", 1)[0]


async def _refuse(status: int, text: str, hint: str, send: Send) -> None:
    await answer(send, status, json.dumps({"error": text, "hint": hint}).encode(), (b"connection", b"close"))


async def answer(
    send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes], kind: str = "application/json"
) -> None:
    """Send the whole of an answer."""
    known = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*known, *headers]})
    await send({"type": "http.response.body", "body": body})
