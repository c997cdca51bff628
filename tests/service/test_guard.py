"""Who may ask: the names by which a service is known."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from onelook.service.guard import Guard, allowed_names, is_loopback


def status_for(names: frozenset[str] | None, host: str | None, origin: str | None = None) -> int:
    """The status that a request with such a `Host` and `Origin` gets."""
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    given = ((b"host", host), (b"origin", origin))
    headers = [(name, value.encode()) for name, value in given if value is not None]
    asyncio.run(Guard(app, names)({"type": "http", "headers": headers}, receive, send))
    assert any(name == b"content-security-policy" for name, _ in sent[0]["headers"])
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.1", False), ("bees.example", False), ("", False)],
)  # fmt: skip
def test_loopback_is_what_this_machine_alone_reaches(host: str, is_local: bool) -> None:
    assert is_loopback(host) == is_local
    assert (allowed_names(host, []) is not None) == is_local


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8000", 200), ("localhost", 200), ("LocalHost:1", 200), ("[::1]:8000", 200), ("[::1]", 200),
     ("127.0.0.1.evil.example", 421), ("evil.example:8000", 421), ("[::2]:8000", 421), ("", 421), (None, 421)],
)  # fmt: skip
def test_local_service_is_asked_by_local_names(host: str | None, status: int) -> None:
    assert status_for(allowed_names("127.0.0.1", []), host) == status


def test_named_service_is_asked_by_its_names_only() -> None:
    names = allowed_names("0.0.0.0", ["Bees.example", "10.0.0.7"])
    assert [status_for(names, host) for host in ("bees.example", "10.0.0.7:80", "localhost")] == [200, 200, 421]


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1:8000", 200), ("http://127.0.0.1:9000", 403), ("https://evil.example", 403), ("null", 403),
     ("http://127.0.0.1:8000.evil.example", 403)],
)  # fmt: skip
@pytest.mark.parametrize("names", [None, frozenset({"127.0.0.1"})])
def test_pages_of_other_sites_are_refused(names: frozenset[str] | None, origin: str, status: int) -> None:
    assert status_for(names, "127.0.0.1:8000", origin) == status
