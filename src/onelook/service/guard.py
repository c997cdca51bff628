"""Access to the service: accepted host names and origins, and security headers for browsers."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Pages may load only from their own origin; `blob:` is the image that the user dropped.
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
"""Limit for path, query and headers of a request."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_names(host: str, allowed_hosts: Sequence[str]) -> frozenset[str] | None:
    """The host names that requests may address; None accepts all.

    A service on a loopback address accepts the names of this machine only, against DNS rebinding: a page of another
    site whose name is made to resolve to this machine.
    """
    if allowed_hosts:
        return frozenset(name.lower() for name in allowed_hosts)
    return frozenset((host, *LOOPBACK_NAMES)) if is_loopback(host) else None


class Guard:
    """Wraps an application: refuses unknown host names and pages of other sites, adds security headers to all answers.

    Args:
        names: see `allowed_names`.
        policy: the Content-Security-Policy of pages.
    """

    def __init__(self, app: App, names: frozenset[str] | None, *, policy: str = POLICY) -> None:
        self._app = app
        self._names = names
        self._headers = ((b"content-security-policy", policy.encode()), *HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it: 431 for a long head, 421 for an unknown host, 403 for another site."""
        from starlette.responses import JSONResponse

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
            return
        status, text, hint = refusal
        refused = JSONResponse({"error": text, "hint": hint}, status, {"Connection": "close"})
        await refused(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, error and hint; None for a request that may pass."""
        from starlette.datastructures import Headers

        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if _head_bytes(scope) > MAX_HEAD_BYTES:
            return 431, f"the head of the request has more than {MAX_HEAD_BYTES} bytes", "send shorter headers"
        if self._names is not None and _without_port(host).lower() not in self._names:
            return 421, "this service does not answer to that host name", "name it with `--allowed-hosts`"
        if origin and origin.split("://")[-1] != host:
            return 403, f"pages of {origin} may not use this service", "ask from a program"
        return None


def _head_bytes(scope: Scope) -> int:
    """Bytes of the path, the query and the headers as they were sent."""
    headers = sum(len(name) + len(value) + 4 for name, value in scope.get("headers", []))
    return headers + len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].split("]")[0]
    return host.rsplit(":", 1)[0]
