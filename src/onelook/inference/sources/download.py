"""Fetches an image or video from a web address that the user typed; no other address is ever asked.

Neither proxies nor cookies are used. Passwords go to the typed host only.
"""

from __future__ import annotations

import base64
import http.client
import logging
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from onelook.errors import DataError
from onelook.files.web import Transport, answered, shown_address
from onelook.inference.sources.addresses import WEB_SCHEMES, file_name_of

logger = logging.getLogger(__name__)

MAX_DOWNLOAD_BYTES = 1 << 32
MAX_SECONDS = 3600.0
SILENCE_SECONDS = 30.0
_CHUNK_BYTES = 1 << 16


def download(
    address: str, folder: Path, *, check: Callable[[], None] = lambda: None, max_bytes: int = MAX_DOWNLOAD_BYTES
) -> Path:
    """The file at `address`, put into `folder` under a name like its own.

    A server may send us on, five times at most, but not from https to http, and not to an address within this machine
    or a private network, unless that very host was typed.

    Args:
        check: called often; what it raises ends the download.
        max_bytes: a larger file is refused.

    Raises:
        DataError: the server cannot be reached, refuses, sends us where we do not go, or sends too much or too little.
    """
    name, target = shown_address(address), folder / file_name_of(address)
    logger.info("fetching `%s`", name)
    typed = urlsplit(address)
    transport = Transport(timeout_s=SILENCE_SECONDS, schemes=WEB_SCHEMES, trusted_host=typed.hostname or "")
    try:
        with answered(address, transport, lambda parts: _password(parts, typed)) as response:
            check()
            if response.status != 200:
                raise DataError(f"the server answers {response.status} {response.reason}")
            _save(response, target, check=check, max_bytes=max_bytes)
            return target
    except (OSError, ValueError, http.client.HTTPException) as problem:  # ValueError: a redirect to nonsense
        reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        raise DataError(f"`{name}` cannot be fetched: {reason}", hint="check the address and the network") from problem
    except DataError as problem:
        raise DataError(f"`{name}` cannot be fetched: {problem.message}", hint=problem.hint) from problem


def _password(parts: SplitResult, typed: SplitResult) -> dict[str, str]:
    """The header with the typed password, for the typed host only."""
    if typed.username is None or (parts.scheme, parts.hostname) != (typed.scheme, typed.hostname):
        return {}
    secret = f"{unquote(typed.username)}:{unquote(typed.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}


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
