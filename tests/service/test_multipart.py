"""Forms: the file is found, whatever stands beside it, and damaged ones are refused."""

from __future__ import annotations

import pytest
from http_asking import form
from hypothesis import given, settings
from hypothesis import strategies as st

from onelook.service.multipart import MAX_PARTS, file_in_form
from onelook.service.refusal import Refusal

FILE = '; name="file"; filename="a.jpg"'


@pytest.mark.parametrize("content", [b"", b"abc", b"--xYzZY", b"\r\n--xYzZ\r\n\r\n", bytes(range(256)) * 9, b"\r\n"])
def test_file_is_found_byte_for_byte(content: bytes) -> None:
    body, kind = form(('; name="note"', b"hello"), (FILE, content), ('; name="file"; filename="b"', b"second"))
    assert file_in_form(body, kind) == content
    assert file_in_form(b"preamble\r\n" + body + b"epilogue", kind) == content


def test_boundary_may_be_quoted_and_parts_may_have_more_headers() -> None:
    head = b'Content-Disposition: form-data; name="f"; FileName="x"\r\nContent-Type: image/png\r\n\r\n'
    body = b"--a b:c\r\n" + head + b"data\r\n--a b:c--"
    assert file_in_form(body, 'multipart/form-data; charset=utf-8; boundary="a b:c"') == b"data"


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (form(('; name="note"', b"hello"))[0], "boundary=xYzZY", "the form has no file"),
        (b"--xYzZY--", "boundary=xYzZY", "the form has no file"),
        (b"", "boundary=xYzZY", "its boundary is missing"),
        (b"abc", "boundary=", "boundary of 0 characters"),
        (b"abc", "x=y", "boundary of 0 characters"),
        (b"abc", "boundary=" + "x" * 71, "boundary of 71 characters"),
        (b"abc", "boundary*=idna''abc", "no boundary that can be read"),
        (b"abc", "boundary*" + "9" * 5000 + "=a", "no boundary that can be read"),
        (b"--xYzZYno", "boundary=xYzZY", "neither an end nor a part"),
        (b"--xYzZY\r\nno header", "boundary=xYzZY", "the header of a part has no end"),
        (form((FILE, b"data"))[0][:-12], "boundary=xYzZY", "a part has no end"),
        (form((FILE + ";x=" + "y" * 8200, b""))[0], "boundary=xYzZY", "more than 8192 bytes"),
        (form(*[('; name="note"', b"")] * MAX_PARTS)[0], "boundary=xYzZY", "more than 32 parts"),
    ],
)
def test_damaged_form_is_refused(body: bytes, kind: str, says: str) -> None:
    with pytest.raises(Refusal, match=says) as refusal:
        file_in_form(body, f"multipart/form-data; {kind}")
    assert refusal.value.status == 400


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b"--xYzZY", b"\r\n", b"--", b"\r\n\r\n", b"filename", b"a"]), max_size=14).map(b"".join)
)
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    try:
        assert file_in_form(body, "multipart/form-data; boundary=xYzZY") in body
    except Refusal as refusal:
        assert refusal.status == 400
