"""The only web client: redirects, hosts that are refused, and files of known size and SHA-256."""

from __future__ import annotations

import errno
import hashlib
import http.client
import ipaddress
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from onelook.errors import DataError, StopRequested
from onelook.files.atomic import flush_folder
from onelook.files.bounded import printable

StopTest = Callable[[], bool]
Progress = Callable[[int, int], None]

MAX_REDIRECTS = 5
MAX_BYTES = 1 << 40
MAX_DIGITS = 18  # of a length that a server announces
PART_SUFFIX = ".part"

LEAST_BYTES_PER_S = 1000

_CHUNK = 1 << 20
_AGAIN = "start again: it resumes where it ended, if the SHA-256 is given"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"bytes (\d{1,18})-\d+/(\d+|\*)")
_PLAIN = "%/?:@!$&'()*+,;=~-._[]"  # what an address may hold as it is; all else is written as %..
_SCHEME = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*:)?//|)(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)})


@dataclass(frozen=True)
class WebFile:
    """A file on the web and what it must be.

    Attributes:
        url: https address.
        size: bytes; None if it is not known.
        sha256: 64 hexadecimal digits; empty if it is not known.
    """

    url: str
    size: int | None = None
    sha256: str = ""

    @property
    def name(self) -> str:
        """The last part of the address."""
        return urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True)
class Transport:
    """How to reach the web.

    Attributes:
        context: whose certificates are trusted; None means those of the system.
        timeout_s: longest silence, seconds.
        allow_private: accept addresses that are not public, as of this machine and its network.
        schemes: which addresses are asked.
        trusted_host: one that the user typed: it may be private, and its address hold a password.
    """

    context: ssl.SSLContext | None = None
    timeout_s: float = 60.0
    allow_private: bool = False
    schemes: tuple[str, ...] = ("https",)
    trusted_host: str = ""


def fetch(
    wanted: WebFile,
    path: Path,
    *,
    transport: Transport | None = None,
    stop_requested: StopTest | None = None,
    progress: Progress | None = None,
) -> str:
    """Download a file and return its SHA-256.

    It is written to `path` with `.part` added, and renamed once it is complete and correct. An interrupted download is
    resumed if the SHA-256 is known.

    Args:
        path: where it goes; its folder exists.
        stop_requested: checked for every mebibyte; True ends it, and keeps what is there.
        progress: called with (bytes done, bytes in all, or 0) now and then.

    Raises:
        DataError: the address is not https or not public, the server refuses or breaks off, or the file is another.
        OSError: the disk is full or failing.
    """
    transport = transport or Transport()
    part = path.with_name(path.name + PART_SUFFIX)
    start = _bytes_there(part, wanted)
    try:
        receiving = _Receiving(wanted, part)
        for done in _received(receiving, start, transport):
            if progress is not None:
                progress(done, wanted.size or 0)
            if stop_requested is not None and stop_requested():
                raise StopRequested(f"the download of `{_brief(wanted.url)}` was stopped", hint=_AGAIN)
    except (http.client.HTTPException, OSError, ValueError) as problem:  # ValueError: sent on to what is no address
        if isinstance(problem, OSError) and _is_of_the_disk(problem):
            problem.filename = problem.filename or str(part)
            raise
        raise DataError(
            f"`{_brief(wanted.url)}` cannot be fetched: {str(problem) or type(problem).__name__}",
            hint="check the network and the address; started again, it resumes where it ended",
        ) from problem
    digest = receiving.digest.hexdigest()
    if wanted.sha256 and digest != wanted.sha256.lower():
        part.unlink()
        raise DataError(
            f"`{_brief(wanted.url)}` has the SHA-256 {digest}, not {wanted.sha256.lower()}: it is another file",
            hint="nothing was kept; ask who gave the address what the file should be",
        )
    part.replace(path)
    flush_folder(path.parent)
    return digest


def _received(receiving: _Receiving, start: int, transport: Transport) -> Iterator[int]:
    """Write what the server sends from byte `start` on, or all of it; how many bytes there are, again and again."""
    wanted = receiving.wanted
    with answered(wanted.url, transport, lambda _: {"Range": f"bytes={start}-"} if start else {}) as response:
        if response.status in (200, 206):
            pace = _Pace(wanted, transport.timeout_s)
            for done in receiving.write(response, _start_of(response, start)):
                pace.check(done)
                yield done
            return
        if response.status != 416 or not start:
            status = f"{response.status} {printable(response.reason)[:80]}"
            raise DataError(
                f"`{_brief(wanted.url)}` cannot be fetched: the server says {status}", hint="check the address"
            )
    yield from _received(receiving, 0, transport)  # what is there is not a part of it


def _is_of_the_disk(problem: OSError) -> bool:
    """Whether it was the disk that failed, not the network."""
    has_number = not isinstance(problem, ssl.SSLError)  # whose numbers mean something else
    return problem.filename is not None or (has_number and problem.errno in _OF_THE_DISK)


def shown_address(address: str) -> str:
    """An address without user, password, query and fragment, which may be secret; of one that is none, too.

    >>> shown_address("rtsp://bee:secret@10.0.0.7:554/hive?token=1")
    'rtsp://10.0.0.7:554/hive'
    """
    text = re.split(r"[?#]", address, maxsplit=1)[0]
    scheme, rest = _SCHEME.fullmatch(text).groups()  # type: ignore[union-attr]
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    if not _HOST.fullmatch(host):  # what follows the colon is no port: part of a password with `/`, `?` or `#`
        return printable(f"{scheme}{host.partition(':')[0]}")
    return printable(f"{scheme}{host}{slash}{path}")


def _brief(address: str) -> str:
    """For messages, since a server may send us on to an address of any length."""
    return shown_address(address)[:200]


@contextmanager
def answered(
    url: str, transport: Transport, headers: Callable[[SplitResult], Mapping[str, str]] = lambda parts: {}
) -> Iterator[http.client.HTTPResponse]:
    """The answer of the server that has what is at an address, after redirects; its body is not read yet.

    Raises:
        DataError: an address on the way is none, may not be asked, or there are too many.
        OSError, ValueError, http.client.HTTPException: a server cannot be reached or answers nonsense.
    """
    following = url
    for _ in range(MAX_REDIRECTS + 1):
        parts = _parsed(following, transport)
        with closing(_connected(parts, transport)) as connection:
            target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
            plain = {"User-Agent": "onelook", "Accept-Encoding": "identity"}
            connection.request("GET", quote(target, safe=_PLAIN), headers={**plain, **headers(parts)})
            with closing(connection.getresponse()) as response:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                following = urljoin(following, response.headers.get("Location", ""))
        if parts.scheme.lower() == "https" and following.lower().startswith("http:"):
            raise DataError(
                f"`{_brief(url)}` redirects from https to http, which is not followed",
                hint="give the http address itself if you trust it",
            )
    raise DataError(f"`{_brief(url)}` is redirected more than {MAX_REDIRECTS} times")


def _parsed(url: str, transport: Transport) -> SplitResult:
    """The parts of an address that may be asked."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:  # whose text may hold the password
        raise DataError(f"`{_brief(url)}` is not an address: its host or port is malformed") from problem
    if parts.scheme.lower() not in transport.schemes or not host:
        raise DataError(
            f"`{_brief(url)}` is not fetched: only {' and '.join(transport.schemes)} addresses are",
            hint=f"ask for one that starts with {transport.schemes[0]}://",
        )
    if host != transport.trusted_host:
        if parts.username or parts.password:
            raise DataError(f"`{_brief(url)}` holds a name or password", hint="leave them out; such are not fetched")
        if not url.isascii() or any(letter <= " " for letter in url):
            raise DataError(
                f"`{_brief(url)}` has characters that no address may have", hint="write them as %20 and so on"
            )
    return parts


def _connected(parts: SplitResult, transport: Transport) -> http.client.HTTPConnection:
    """A connection to a machine that may be asked; nothing is sent yet."""
    host = parts.hostname or ""
    connection = (
        http.client.HTTPConnection(host, parts.port, timeout=transport.timeout_s)
        if parts.scheme.lower() == "http"
        else http.client.HTTPSConnection(
            host, parts.port, timeout=transport.timeout_s, context=transport.context or ssl.create_default_context()
        )
    )
    try:
        connection.connect()
        if not transport.allow_private and host != transport.trusted_host:
            refuse_private(str(connection.sock.getpeername()[0]), parts.geturl())
    except BaseException:
        connection.close()
        raise
    return connection


def refuse_private(peer: str, url: str) -> None:
    """Raise DataError for a machine that is not public: an address from others has no business there."""
    address = ipaddress.ip_address(peer.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not address.is_global or address.is_multicast:
        raise DataError(
            f"`{_brief(url)}` is at {address}, which is not a public address",
            hint="if you trust it, fetch it yourself, or give that very address as a source",
        )


def _bytes_there(part: Path, wanted: WebFile) -> int:
    """How much of the file an earlier download left; what cannot be checked in the end is not continued."""
    if part.is_symlink() or (part.exists() and not part.is_file()):
        raise DataError(f"`{printable(part)}` is in the way", hint="remove it")
    if not wanted.sha256 or not part.exists():
        return 0
    size = part.stat().st_size
    return size if wanted.size is None or size < wanted.size else 0


def _start_of(response: http.client.HTTPResponse, start: int) -> int:
    """From which byte on the server sends the file."""
    if response.status == 200:
        return 0
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != start:
        raise DataError("the server sends another part of the file than was asked for", hint="fetch it yourself")
    return start


@dataclass
class _Receiving:
    """A file on its way from the web to `part`, and the SHA-256 of what is there."""

    wanted: WebFile
    part: Path
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def write(self, response: http.client.HTTPResponse, start: int) -> Iterator[int]:
        """Write what the server sends from byte `start` on; how many bytes there are, again and again."""
        limit = MAX_BYTES if self.wanted.size is None else self.wanted.size
        length = response.headers.get("Content-Length", "")
        announced = start + int(length) if length.isdecimal() and len(length) <= MAX_DIGITS else None
        if announced is not None and announced > limit:
            raise _wrong_size(self.wanted, f"announces {announced} bytes", limit)
        done = start
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(self.part, flags, 0o644), "r+b") as file:
            self._digest_first(file, start)
            while chunk := response.read1(_CHUNK):
                done += len(chunk)
                if done > limit:
                    raise _wrong_size(self.wanted, f"sends more than {limit} bytes", limit)
                self.digest.update(chunk)
                file.write(chunk)
                yield done
            file.flush()
            os.fsync(file.fileno())
        total = self.wanted.size
        if total is None:
            total = done if announced is None else announced
        if done != total:
            raise DataError(f"`{_brief(self.wanted.url)}` ended after {done} of {total} bytes", hint=_AGAIN)

    def _digest_first(self, file: BinaryIO, count: int) -> None:
        """Take in the bytes of an earlier download, and cut off what lies behind them."""
        left = count
        while left:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise DataError(f"`{printable(self.part)}` has changed meanwhile", hint="start again")
            self.digest.update(chunk)
            left -= len(chunk)
        file.truncate(count)


@dataclass
class _Pace:
    """Ends a download that only drips: servers can hold a connection open for ever with a byte now and then."""

    wanted: WebFile
    window_s: float
    since: float = field(default_factory=time.monotonic)
    bytes_then: int = 0

    def check(self, done: int) -> None:
        """Compare with how much there was a window ago."""
        now = time.monotonic()
        if now - self.since < self.window_s:
            return
        if done - self.bytes_then < LEAST_BYTES_PER_S * (now - self.since):
            raise DataError(f"`{_brief(self.wanted.url)}` arrives too slowly to finish", hint=_AGAIN)
        self.since, self.bytes_then = now, done


def _wrong_size(wanted: WebFile, what: str, limit: int) -> DataError:
    expected = limit if wanted.size is not None else f"at most {limit}"
    return DataError(
        f"`{_brief(wanted.url)}` {what}; it should be {expected}",
        hint="it is another file, or its size was written down wrongly",
    )
