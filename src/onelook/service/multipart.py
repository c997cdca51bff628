"""The file in a form that a browser or `curl -F` sends (RFC 7578), found in bytes that are all there."""

from __future__ import annotations

from email.message import Message

from onelook.service.refusal import Refusal

MAX_PARTS = 32
MAX_HEADER_BYTES = 8192
MAX_BOUNDARY_BYTES = 70  # RFC 2046, section 5.1.1


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form.

    >>> is_form("Multipart/Form-Data; boundary=x"), is_form("image/png")
    (True, False)
    """
    return content_type.split(";")[0].strip().lower() == "multipart/form-data"


def file_in_form(body: bytes, content_type: str) -> bytes:
    """The content of the first part with a file name.

    Args:
        body: of the request.
        content_type: of the request; carries the boundary.

    Raises:
        Refusal: the body is no such form, or has no file.
    """
    mark = b"--" + _boundary(content_type)
    place = 0 if body.startswith(mark) else _after(body, b"\r\n" + mark, 0, "its boundary is missing") - len(mark)
    for _ in range(MAX_PARTS):
        place += len(mark)
        if body.startswith(b"--", place):
            raise Refusal(400, "the form has no file", hint="`curl -F file=@image.jpg ...` sends one")
        if not body.startswith(b"\r\n", place):
            raise Refusal(400, "the form is damaged: a boundary is followed by neither an end nor a part")
        start = _after(body, b"\r\n\r\n", place, "the header of a part has no end")
        end = _after(body, b"\r\n" + mark, start, "a part has no end") - len(mark) - 2
        if start - place > MAX_HEADER_BYTES:
            raise Refusal(400, f"the form is damaged: the header of a part has more than {MAX_HEADER_BYTES} bytes")
        if b"filename" in body[place:start].lower():
            return body[start:end]
        place = end + 2
    raise Refusal(400, f"the form has more than {MAX_PARTS} parts and no file among them")


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type
    try:
        boundary = header.get_boundary("")
    except ValueError as problem:  # it may say in which characters it is written, and in how many pieces
        raise Refusal(400, "the form has no boundary that can be read") from problem
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise Refusal(400, f"the form has a boundary of {len(boundary)} characters, 1 to {MAX_BOUNDARY_BYTES} are used")
    return boundary.encode("latin-1", "replace")


def _after(body: bytes, wanted: bytes, start: int, problem: str) -> int:
    """The place behind the next `wanted`."""
    place = body.find(wanted, start)
    if place < 0:
        raise Refusal(400, f"the form is damaged: {problem}")
    return place + len(wanted)
