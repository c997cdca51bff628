"""Forms as browsers and `curl -F` send them (RFC 7578), parsed by python-multipart within limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import Message
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from onelook.service.refusal import Refusal

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 32
MAX_HEADER_BYTES, MAX_HEADERS = 8192, 8
MAX_BOUNDARY_BYTES = 70  # RFC 2046, section 5.1.1
MAX_TEXT_BYTES = 1000


@dataclass
class Part:
    """A field of a form.

    Attributes:
        is_file: whether it has a file name.
        content: as it was sent.
    """

    name: str = ""
    is_file: bool = False
    content: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class Form:
    """The content of a form.

    Attributes:
        fields: name and text of the other parts.
    """

    files: tuple[bytes, ...]
    fields: tuple[tuple[str, str], ...]


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form.

    >>> is_form("Multipart/Form-Data; boundary=x"), is_form("image/png")
    (True, False)
    """
    return content_type.split(";")[0].strip().lower() == "multipart/form-data"


def read_form(body: bytes, content_type: str) -> Form:
    """The files and texts of a form.

    Raises:
        Refusal: the body is not a valid form, has no file, or exceeds a limit.
    """
    reader = _Reader()
    try:
        parser = MultipartParser(
            _boundary(content_type), reader.callbacks(), max_header_count=MAX_HEADERS, max_header_size=MAX_HEADER_BYTES
        )
        parser.write(body)
        parser.finalize()
    except MultipartParseError as problem:
        raise Refusal(400, f"the form is damaged: {problem}") from problem
    if not reader.is_complete:
        raise Refusal(400, "the form is damaged: it has no end")
    files = tuple(bytes(part.content) for part in reader.parts if part.is_file)
    if not files:
        raise Refusal(400, "the form has no file", hint="`curl -F file=@image.jpg ...` sends one")
    return Form(files, tuple((part.name, _text(part)) for part in reader.parts if not part.is_file))


class _Reader:
    """Collects the parts that the parser finds."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.is_complete = False
        self._header = bytearray()
        self._value = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """The handlers for `MultipartParser`."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._note_header,
            "on_part_data": lambda data, start, end: self.parts[-1].content.extend(data[start:end]),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise Refusal(400, f"the form has more than {MAX_PARTS} parts")
        self.parts.append(Part())

    def _note_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            part = self.parts[-1]
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            part.is_file = b"filename" in options or b"filename*" in options
        self._header.clear()
        self._value.clear()

    def _end(self) -> None:
        self.is_complete = True


def _text(part: Part) -> str:
    if len(part.content) > MAX_TEXT_BYTES:
        raise Refusal(400, f"form field `{part.name[:40]}` has more than {MAX_TEXT_BYTES} bytes and is not a file")
    return part.content.decode("utf-8", "replace")


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type
    try:
        boundary = header.get_boundary("")
    except ValueError as problem:  # RFC 2231 lets it declare an encoding and come in pieces
        raise Refusal(400, "the form has no boundary that can be read") from problem
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise Refusal(400, f"the form has a boundary of {len(boundary)} characters, 1 to {MAX_BOUNDARY_BYTES} are used")
    return boundary.encode("latin-1", "replace")
