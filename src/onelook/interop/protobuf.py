"""The wire format of protocol buffers: the fields of a message (https://protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator

from onelook.errors import CheckpointError

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10
_SIGN = 1 << 63
MAX_FIELDS = 200_000  # of a file; yolox-nano has 7,266

Value = int | memoryview


class Message:
    """The fields of a message by their numbers; those in it that are messages are read when they are asked for.

    Raises:
        CheckpointError: it is damaged, or more fields are read, in all messages of the file, than any network has; the
            message lacks the file.

    >>> message = Message(memoryview(b"\\x08\\x96\\x01\\x12\\x02hi"))
    >>> message.numbers(1), message.text(2), message.text(3)
    ([150], 'hi', '')
    """

    def __init__(self, data: memoryview, count: Iterator[int] | None = None) -> None:
        self._count = itertools.count(1) if count is None else count
        self._fields: dict[int, list[Value]] = defaultdict(list)
        for number, value in fields(data):
            if next(self._count) > MAX_FIELDS:
                raise CheckpointError(f"it has more than {MAX_FIELDS} fields")
            self._fields[number].append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def parts(self, number: int) -> list[memoryview]:
        """The bytes of each field of this number.

        Raises:
            CheckpointError: one is a number.
        """
        found = self._fields.get(number, [])
        parts = [value for value in found if not isinstance(value, int)]
        if len(parts) < len(found):
            raise CheckpointError("it has a number where a message should be")
        return parts

    def messages(self, *path: int) -> list[Message]:
        """All messages that are reached by the field numbers `path`."""
        found = [self]
        for number in path:
            found = [Message(part, self._count) for one in found for part in one.parts(number)]
        return found

    def texts(self, number: int) -> list[str]:
        """Each field of this number as text."""
        return [bytes(part).decode("utf-8", errors="replace") for part in self.parts(number)]

    def text(self, number: int) -> str:
        """The field of this number, which counts once, as text; empty if it is missing."""
        return self.texts(number)[-1] if number in self else ""

    def numbers(self, number: int) -> list[int]:
        """The whole numbers of 64 bits with a sign in all fields of this number, packed or not."""
        values = (one for value in self._fields.get(number, []) for one in _varints(value))
        return [(one + _SIGN) % (2 * _SIGN) - _SIGN for one in values]


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and value of each field, in the order of the file; what has a length comes as a view of its bytes.

    Fixed numbers come as views too, of 4 or 8 bytes. Nothing is copied, and the work is that of one pass.

    Raises:
        CheckpointError: the message is cut off, or not of this format; the message lacks the name of the file.

    >>> (first, number), (second, text) = fields(memoryview(b"\\x08\\x96\\x01\\x12\\x02hi"))
    >>> first, number, second, bytes(text)
    (1, 150, 2, b'hi')
    """
    offset, end = 0, len(message)
    while offset < end:
        key, offset = _varint(message, offset)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, offset = _varint(message, offset)
            yield number, value
            continue
        if kind == BYTES:
            length, offset = _varint(message, offset)
        elif kind in (FIXED_32, FIXED_64):
            length = 4 if kind == FIXED_32 else 8
        else:
            raise CheckpointError(f"it has a field of the unknown kind {kind}")
        if number == 0 or length > end - offset:
            raise CheckpointError(f"it is cut off or damaged: {length} bytes are announced, {end - offset} are left")
        yield number, message[offset : offset + length]
        offset += length


def _varint(message: memoryview, offset: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(message[offset : offset + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, offset + shift + 1
    raise CheckpointError("it is cut off or damaged: a number does not end")


def _varints(packed: Value) -> list[int]:
    """The numbers of a field: one, or many packed into bytes."""
    if isinstance(packed, int):
        return [packed]
    values, offset = [], 0
    while offset < len(packed):
        value, offset = _varint(packed, offset)
        values.append(value)
    return values
