"""What is fetched from the web when a user types an address, and what is not, from a server on this machine."""

from __future__ import annotations

import base64
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from web_server import Answer, send, serving

from onelook.errors import DataError, StopRequested
from onelook.files.web import refuse_private
from onelook.inference.sources.download import download

BODY = bytes(range(256)) * 300


def redirect_to(target: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/there.png":
            send(request, BODY)
        else:
            send(request, status=302, headers={"Location": target})

    return answer


def test_the_bytes_of_the_address_come_whole_and_nothing_else_is_asked(tmp_path: Path) -> None:
    with serving(lambda request: send(request, BODY)) as server:
        path = download(f"{server.address}/bees/a%20hive.PNG?size=1&x=ü#top", tmp_path)
    assert path == tmp_path / "a_hive.png" and path.read_bytes() == BODY
    assert server.asked == ["/bees/a%20hive.PNG?size=1&x=%C3%BC"]
    assert "Authorization" not in server.headers[0]


def test_an_answer_without_a_length_is_read_to_its_end(tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(BODY)

    with serving(answer) as server:
        assert download(f"{server.address}/a.png", tmp_path).read_bytes() == BODY


def test_redirects_on_the_typed_host_are_followed(tmp_path: Path) -> None:
    with serving(redirect_to("/there.png")) as server:
        path = download(f"{server.address}/here.png", tmp_path)
    assert server.asked == ["/here.png", "/there.png"] and path.name == "here.png" and path.read_bytes() == BODY


def test_user_and_password_go_to_the_typed_host(tmp_path: Path) -> None:
    with serving(redirect_to("/there.png")) as server:
        download(f"{server.address}/here.png".replace("://", "://bee:s%40cret@"), tmp_path)
    expected = f"Basic {base64.b64encode(b'bee:s@cret').decode()}"
    assert [head["Authorization"] for head in server.headers] == [expected] * 2


def test_nobody_sends_us_to_a_private_address_or_learns_the_password(tmp_path: Path) -> None:
    """The name `localhost` was not typed, the number was; both are this machine."""
    with serving(lambda request: send(request, BODY)) as inner:
        port = inner.address.rpartition(":")[2]
        with serving(redirect_to(f"http://localhost:{port}/there.png")) as server:
            message = r"`http://localhost:\d+/there\.png` is at (127\.0\.0\.1|::1), which is not a public address"
            with pytest.raises(DataError, match=message):
                download(f"{server.address}/here.png", tmp_path)
        assert inner.asked == []
        typed = f"http://localhost:{port}/there.png"
        assert download(typed, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("peer", "is_refused"),
    [
        ("127.0.0.1", True), ("10.1.2.3", True), ("192.168.0.9", True), ("172.16.0.1", True), ("169.254.169.254", True),
        ("100.64.0.1", True), ("0.0.0.0", True), ("224.0.0.1", True), ("::1", True), ("fe80::1%eth0", True),
        ("fd00::1", True), ("::ffff:10.0.0.1", True), ("93.184.216.34", False), ("2606:2800:220:1::1", False),
        ("::ffff:93.184.216.34", False),
    ],
)  # fmt: skip
def test_private_addresses_are_known(peer: str, is_refused: bool) -> None:
    if not is_refused:
        refuse_private(peer, "https://host/")
        return
    with pytest.raises(DataError, match="not a public address"):
        refuse_private(peer, "https://host/")


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/x.png"])
def test_redirects_lead_from_web_to_web_only(location: str, tmp_path: Path) -> None:
    with serving(redirect_to(location)) as server, pytest.raises(DataError, match="only http and https addresses are"):
        download(f"{server.address}/here.png", tmp_path)


def too_long(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(100):
        request.wfile.write(bytes(1000))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda request: send(request, status=404), "the server answers 404"),
        (lambda request: send(request, bytes(5000)), "it has 5000 bytes, more than the limit of 4000"),
        (too_long, "it has more bytes than the limit of 4000"),
        (lambda request: send(request, b"abc", headers={"Content-Length": "9"}), "broke off after 3 of 9 bytes"),
        (redirect_to("/round.png"), "redirected more than 5 times"),
        (redirect_to("http://127.0.0.1:notaport/"), "cannot be fetched"),
        (lambda request: request.wfile.write(b"hello\r\n"), "cannot be fetched"),
    ],
)
def test_what_a_server_may_do_wrong_is_said(answer: Answer, words: str, tmp_path: Path) -> None:
    with serving(answer) as server:
        with pytest.raises(DataError, match=words) as caught:
            download(f"{server.address}/a.png", tmp_path, max_bytes=4000)
        assert re.match(rf"`{server.address}/a\.png` cannot be fetched: ", caught.value.message)


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with serving(lambda request: send(request)) as server:
        pass
    with pytest.raises(DataError, match=r"a\.png` cannot be fetched: .*refused"):
        download(f"{server.address}/a.png", tmp_path)


def test_a_download_can_be_stopped(tmp_path: Path) -> None:
    def stop() -> None:
        raise StopRequested("enough")

    with serving(lambda request: send(request, BODY)) as server, pytest.raises(StopRequested, match="enough"):
        download(f"{server.address}/a.png", tmp_path, check=stop)
