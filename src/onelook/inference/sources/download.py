"""Fetches an image or video from a web address that the user typed; no other address is ever asked.

Neither proxies nor cookies are used. Passwords go to the typed host only.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import logging
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from onelook.errors import DataError
from onelook.inference.sources.addresses import WEB_SCHEMES, file_name_of, shown_address

logger = logging.getLogger(__name__)

MAX_DOWNLOAD_BYTES = 1 << 32
MAX_SECONDS = 3600.0
SILENCE_SECONDS = 30.0
MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK_BYTES = 1 << 16
_PLAIN = "%/?:@!$&'()*+,;=~-._[]"  # what an address may hold as it is; all else is written as %..


def download(
    address: str,
    folder: Path,
    *,
    check: Callable[[], None] = lambda: None,
    max_bytes: int = MAX_DOWNLOAD_BYTES,
) -> Path:
    """The file at `address`, put into `folder` under a name like its own.

    A server may send us on, five times at most, but not from https to http, and not to an address within this machine
    or a private network, unless that very host was typed.

    Args:
        address: http or https.
        folder: exists and is empty.
        check: called often; what it raises ends the download.
        max_bytes: a larger file is refused.

    Raises:
        DataError: the server cannot be reached, refuses, sends us where we do not go, or sends too much or too little.
    """
    name, target = shown_address(address), folder / file_name_of(address)
    logger.info("fetching `%s`", name)
    typed = place = urlsplit(address)
    try:
        for _ in range(MAX_REDIRECTS + 1):
            connection = _connected(place, typed)
            try:
                response = _asked(connection, place, typed)
                if response.status not in _REDIRECTS:
                    _save(response, target, check=check, max_bytes=max_bytes)
                    return target
                place = _next_place(place, response.headers.get("Location", ""))
            finally:
                connection.close()
            check()
    except (OSError, ValueError, http.client.HTTPException) as problem:  # ValueError: a redirect to nonsense
        reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        raise DataError(f"`{name}` cannot be fetched: {reason}", hint="check the address and the network") from problem
    except DataError as problem:
        raise DataError(f"`{name}` cannot be fetched: {problem.message}", hint=problem.hint) from problem
    raise DataError(f"`{name}` cannot be fetched: more than {MAX_REDIRECTS} redirects")


def _connected(place: SplitResult, typed: SplitResult) -> http.client.HTTPConnection:
    """A connection to the host of `place`, which is nobody's private one; nothing is sent yet."""
    kind = http.client.HTTPSConnection if place.scheme.lower() == "https" else http.client.HTTPConnection
    connection = kind(place.hostname or "", place.port, timeout=SILENCE_SECONDS)
    try:
        connection.connect()
        if place.hostname != typed.hostname:
            _refuse_private(str(connection.sock.getpeername()[0]), place.hostname or "")
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_private(peer: str, host: str) -> None:
    """Raise unless `peer`, the address that answers for `host`, is one of the public network."""
    address = ipaddress.ip_address(peer.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not address.is_global or address.is_multicast:
        raise DataError(
            f"the server sends us on to `{host}`, which is {address}: within this machine or a private network",
            hint="type that address as the source if you trust it",
        )


def _asked(connection: http.client.HTTPConnection, place: SplitResult, typed: SplitResult) -> http.client.HTTPResponse:
    """The answer, its head read: a file or a redirect."""
    headers = {"User-Agent": "onelook", "Accept-Encoding": "identity"}
    if typed.username is not None and (place.scheme, place.hostname) == (typed.scheme, typed.hostname):
        secret = f"{unquote(typed.username)}:{unquote(typed.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
    wanted = f"{place.path or '/'}{f'?{place.query}' if place.query else ''}"
    connection.request("GET", quote(wanted, safe=_PLAIN), headers=headers)
    response = connection.getresponse()
    if response.status not in (200, *_REDIRECTS):
        raise DataError(f"the server answers {response.status} {response.reason}")
    return response


def _next_place(place: SplitResult, location: str) -> SplitResult:
    """Where a redirect leads."""
    following = urlsplit(urljoin(place.geturl(), location))
    if following.scheme.lower() not in WEB_SCHEMES or not following.hostname:
        raise DataError(f"the server sends us on to `{shown_address(following.geturl())}`, which is no web address")
    if place.scheme.lower() == "https" and following.scheme.lower() != "https":
        raise DataError("the server sends us on from https to http", hint="type the http address if you trust it")
    return following


def _save(response: http.client.HTTPResponse, target: Path, *, check: Callable[[], None], max_bytes: int) -> None:
    text = response.headers.get("Content-Length", "")
    announced = int(text) if text.isascii() and text.isdigit() else None
    if announced is not None and announced > max_bytes:
        raise DataError(f"it has {announced} bytes, more than the limit of {max_bytes}")
    received, deadline = 0, time.monotonic() + MAX_SECONDS
    with target.open("xb") as file:
        while chunk := response.read1(_CHUNK_BYTES):
            received += len(chunk)
            if received > max_bytes:
                raise DataError(f"it has more bytes than the limit of {max_bytes}")
            if time.monotonic() > deadline:
                raise DataError(f"it takes more than {MAX_SECONDS:.0f} seconds")
            file.write(chunk)
            check()
    if announced is not None and received != announced:
        raise DataError(f"the connection broke off after {received} of {announced} bytes")
