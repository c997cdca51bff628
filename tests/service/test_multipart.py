"""Forms: the file is found, whatever stands beside it, and damaged ones are refused."""

from __future__ import annotations

import pytest
from http_asking import form
from hypothesis import given, settings
from hypothesis import strategies as st

from onelook.service.multipart import MAX_PARTS, read_form
from onelook.service.refusal import Refusal

FILE = '; name="file"; filename="a.jpg"'


@pytest.mark.parametrize("content", [b"", b"abc", b"--xYzZY", b"\r\n--xYzZ\r\n\r\n", bytes(range(256)) * 9, b"\r\n"])
def test_files_are_found_byte_for_byte_and_texts_beside_them(content: bytes) -> None:
    body, kind = form(('; name="filename"', b"hello"), (FILE, content), ('; name="file"; filename="b"', b"second"))
    for sent in (body, body + b"epilogue"):
        read = read_form(sent, kind)
        assert (read.files, read.fields) == ((content, b"second"), (("filename", "hello"),))


def test_boundary_may_be_quoted_and_parts_may_have_more_headers() -> None:
    head = b'Content-Disposition: form-data; name="f"; FileName="x"\r\nContent-Type: image/png\r\n\r\n'
    body = b"--ab:c\r\n" + head + b"data\r\n--ab:c--\r\n"
    assert read_form(body, 'multipart/form-data; charset=utf-8; boundary="ab:c"').files == (b"data",)


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (form(('; name="note"', b"hello"))[0], "boundary=xYzZY", "the form has no file"),
        (b"--xYzZY--", "boundary=xYzZY", "the form"),
        (b"", "boundary=xYzZY", "it has no end"),
        (b"abc", "boundary=", "boundary of 0 characters"),
        (b"abc", "x=y", "boundary of 0 characters"),
        (b"abc", "boundary=" + "x" * 71, "boundary of 71 characters"),
        (b"abc", "boundary*=idna''abc", "no boundary that can be read"),
        (b"abc", "boundary*" + "9" * 5000 + "=a", "no boundary that can be read"),
        (b"--xYzZYno", "boundary=xYzZY", "the form is damaged"),
        (b"--xYzZY\r\nno header", "boundary=xYzZY", "the form is damaged"),
        (form((FILE, b"data"))[0][:-12], "boundary=xYzZY", "it has no end"),
        (form((FILE + ";x=" + "y" * 8200, b""))[0], "boundary=xYzZY", "the form is damaged"),
        (form(*[('; name="note"', b"")] * (MAX_PARTS + 1))[0], "boundary=xYzZY", "more than 32 parts"),
    ],
)
def test_damaged_form_is_refused(body: bytes, kind: str, says: str) -> None:
    with pytest.raises(Refusal, match=says) as refusal:
        read_form(body, f"multipart/form-data; {kind}")
    assert refusal.value.status == 400


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from([b"--xYzZY", b"\r\n", b"--", b"\r\n\r\n", b"filename", b"a"]), max_size=14).map(b"".join)
)
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    try:
        assert all(file in body for file in read_form(body, "multipart/form-data; boundary=xYzZY").files)
    except Refusal as refusal:
        assert refusal.status == 400
