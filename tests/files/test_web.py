"""Downloads from a server on this machine that does what bad servers do."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from https_server import serving, trusting

from onelook.errors import DataError, StopRequested
from onelook.files.web import Transport, WebFile, answered, fetch, shown_address

CONTENT = bytes(range(256)) * 12_000  # three mebibytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str]] = []  # noqa: RUF012 - shared by all requests of a test

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        kind = self.path.partition("?")[0].strip("/")
        self.asked.append((kind, self.headers.get("Range", "")))
        getattr(self, f"send_{kind.partition('/')[0]}")()
        self.close_connection = True

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_good(self) -> None:
        start = self.headers.get("Range", "")
        if start:
            first = int(start.removeprefix("bytes=").rstrip("-"))
            told = f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.reply(206, CONTENT[first:], Content_Range=told)
        else:
            self.reply(200, CONTENT)

    def send_whole(self) -> None:
        self.reply(200, CONTENT)

    def send_short(self) -> None:
        self.reply(200, CONTENT[:-5], Content_Length=str(len(CONTENT)))

    def send_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            try:
                self.wfile.write(CONTENT)
            except OSError:
                return

    def send_drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        for _ in range(200):
            try:
                self.wfile.write(b"x")
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.02)

    def send_missing(self) -> None:
        self.reply(404, b"no")

    def send_boasting(self) -> None:
        self.reply(200, CONTENT, Content_Length="9" * 5000)

    def send_elsewhere(self) -> None:
        self.reply(206, CONTENT[5:], Content_Range=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}")

    def send_to(self) -> None:
        targets = {"good": "/good/x.zip?token=1", "http": "http://127.0.0.1/x", "file": "file:///etc/passwd",
                   "metadata": "https://169.254.169.254/latest", "loop": "/to/loop", "nonsense": "https://[::1/x",
                   "labels": f"https://{'a' * 64}.example/x"}  # fmt: skip
        self.reply(302, b"", Location=targets[self.path.rpartition("/")[2]])


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(Handler) as place:
        yield place


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    Handler.asked.clear()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_of_the_right_hash_arrives_whole(address: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    wanted = WebFile(f"{address}/to/good", len(CONTENT), SHA256.upper())
    digest = fetch(wanted, tmp_path / "x.zip", transport=trusting(), progress=lambda *both: seen.append(both))
    assert digest == SHA256 and (tmp_path / "x.zip").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["x.zip"] and seen[-1] == (len(CONTENT), len(CONTENT))
    assert [kind for kind, _ in Handler.asked] == ["to/good", "good/x.zip"]


def test_size_and_hash_may_be_unknown(address: str, tmp_path: Path) -> None:
    assert fetch(WebFile(f"{address}/whole"), tmp_path / "x", transport=trusting()) == SHA256


REFUSED = {
    "another file": ("/whole", {"sha256": "0" * 64}, "it is another file"),
    "larger than it should be": ("/whole", {"size": 100}, "announces 3072000 bytes; it should be 100"),
    "smaller than it should be": ("/whole", {"size": 4_000_000}, "ended after 3072000 of 4000000 bytes"),
    "a short body": ("/short", {}, "ended after 3071995 of 3072000 bytes"),
    "an endless body": ("/endless", {"size": len(CONTENT)}, "sends more than 3072000 bytes"),
    "not there": ("/missing", {}, "the server says 404"),
    "a loop": ("/to/loop", {}, "redirected more than 5 times"),
    "to http": ("/to/http", {}, "redirects from https to http"),
    "to a file": ("/to/file", {}, "only https addresses are"),
    "to nonsense": ("/to/nonsense", {}, "cannot be fetched: Invalid IPv6 URL"),
    "to a name that no host has": ("/to/labels", {}, "cannot be fetched: "),
    "a length that is no number": ("/boasting", {"size": 100}, "sends more than 100 bytes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_bad_server_sends_does_not_become_a_file(case: str, address: str, tmp_path: Path) -> None:
    path, expected, words = REFUSED[case]
    with pytest.raises(DataError) as caught:
        fetch(WebFile(f"{address}{path}", **expected), tmp_path / "x", transport=trusting())  # type: ignore[arg-type]
    assert words in caught.value.message and (caught.value.hint or case == "a loop")
    assert not (tmp_path / "x").exists()


def test_nobody_sends_us_from_https_to_http(address: str) -> None:
    transport = replace(trusting(), schemes=("https", "http"))
    with pytest.raises(DataError, match="from https to http"), answered(f"{address}/to/http", transport):
        pass


def test_a_server_that_only_drips_is_given_up(address: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="arrives too slowly"):
        fetch(WebFile(f"{address}/drip"), tmp_path / "x", transport=trusting(timeout_s=0.3))


def test_addresses_that_are_not_public_are_not_asked(address: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is at 127\.0\.0\.1, which is not a public address"):
        fetch(WebFile(f"{address}/whole"), tmp_path / "x", transport=trusting(allow_private=False))
    assert Handler.asked == []


def test_certificates_are_checked(address: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="certificate verify failed"):
        fetch(WebFile(f"{address}/whole"), tmp_path / "x", transport=Transport(allow_private=True))


@pytest.mark.parametrize(
    "url", ["http://a.example/x", "ftp://a.example/x", "file:///etc/passwd", "x.zip", "", "https://", "https:///x",
            "https://user:secret@a.example/x", "https://a.example:99999/x", "https://a.example/a b", "https://[::1/x",
            "https://user:secret@[::1/x", "https://user:secret\N{ACCOUNT OF}@a.example/x",
            "https://a.example/\r\nHost: b"],
)  # fmt: skip
def test_only_plain_https_addresses_are_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch(WebFile(url), tmp_path / "x", transport=trusting())
    assert "secret" not in str(caught.value) and names_in(tmp_path) == []


def test_a_download_resumes_where_it_ended_and_the_whole_is_checked(address: str, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT[:1000])
    wanted = WebFile(f"{address}/good", len(CONTENT), SHA256)
    fetch(wanted, tmp_path / "x", transport=trusting())
    assert (tmp_path / "x").read_bytes() == CONTENT and Handler.asked == [("good", "bytes=1000-")]
    (tmp_path / "x.part").write_bytes(b"wrong" * 200)
    with pytest.raises(DataError, match="it is another file"):
        fetch(wanted, tmp_path / "x", transport=trusting())
    assert not (tmp_path / "x.part").exists()


def test_a_server_that_cannot_go_on_sends_all(address: str, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"wrong" * 200)
    fetch(WebFile(f"{address}/whole", len(CONTENT), SHA256), tmp_path / "x", transport=trusting())
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_without_a_hash_nothing_is_gone_on_with(address: str, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"wrong" * 200)
    fetch(WebFile(f"{address}/good"), tmp_path / "x", transport=trusting())
    assert (tmp_path / "x").read_bytes() == CONTENT and Handler.asked == [("good", "")]


def test_another_part_than_was_asked_for_is_refused(address: str, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DataError, match="another part of the file"):
        fetch(WebFile(f"{address}/elsewhere", len(CONTENT), SHA256), tmp_path / "x", transport=trusting())


def test_a_stop_keeps_what_is_there(address: str, tmp_path: Path) -> None:
    wanted = WebFile(f"{address}/good", len(CONTENT), SHA256)
    with pytest.raises(StopRequested, match="was stopped"):
        fetch(wanted, tmp_path / "x", transport=trusting(), stop_requested=lambda: True)
    assert 0 < (tmp_path / "x.part").stat().st_size < len(CONTENT)
    fetch(wanted, tmp_path / "x", transport=trusting())
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files there")
def test_a_full_disk_is_not_taken_for_a_bad_network(address: str, tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            fetch(WebFile(f"{address}/whole"), tmp_path / "x", transport=trusting())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(tmp_path / "x.part")


def test_a_link_in_the_way_is_not_followed(address: str, tmp_path: Path) -> None:
    (tmp_path / "x.part").symlink_to(tmp_path / "precious")
    with pytest.raises(DataError, match="is in the way"):
        fetch(WebFile(f"{address}/good"), tmp_path / "x", transport=trusting())
    assert not (tmp_path / "precious").exists()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:pw@a.example:8080/x.zip?token=abc", "https://a.example:8080/x.zip"),
        ("https://user:pw@[::1]:8080/x.zip", "https://[::1]:8080/x.zip"),
        ("https://user:pw@[none/x.zip?token=abc", "https://[none/x.zip"),
        ("https://user:p#w@a.example/x.zip", "https://user"),
        ("https://user:p?w@a.example/x.zip", "https://user"),
        ("https://user:p/w@a.example/x.zip", "https://user"),
        ("//user:pw@a.example/x.zip", "//a.example/x.zip"),
        ("user:pw@a.example/x.zip", "a.example/x.zip"),
        (f"https://a.example/{'long' * 99}/x.zip", f"https://a.example/{'long' * 99}/x.zip"),
    ],
)
def test_secrets_in_addresses_are_not_shown(address: str, shown: str) -> None:
    assert shown_address(address) == shown
