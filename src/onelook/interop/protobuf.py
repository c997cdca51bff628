"""The wire format of protocol buffers: the fields of a message (https://protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from collections.abc import Iterator

from onelook.errors import CheckpointError

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10

Value = int | memoryview


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and value of each field, in the order of the file; what has a length comes as a view of its bytes.

    Fixed numbers come as views too, of 4 or 8 bytes. Nothing is copied, and the work is that of one pass.

    Raises:
        CheckpointError: the message is cut off, or not of this format; the message lacks the name of the file.

    >>> (first, number), (second, text) = fields(memoryview(b"\\x08\\x96\\x01\\x12\\x02hi"))
    >>> first, number, second, bytes(text)
    (1, 150, 2, b'hi')
    """
    place, end = 0, len(message)
    while place < end:
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == BYTES:
            length, place = _varint(message, place)
        elif kind in (FIXED_32, FIXED_64):
            length = 4 if kind == FIXED_32 else 8
        else:
            raise CheckpointError(f"it has a field of the unknown kind {kind}")
        if number == 0 or length > end - place:
            raise CheckpointError(f"it is cut off or damaged: {length} bytes are announced, {end - place} are left")
        yield number, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(message[place : place + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place + shift + 1
    raise CheckpointError("it is cut off or damaged: a number does not end")


def varints(packed: Value) -> list[int]:
    """The numbers of a repeated field: one, or many packed into bytes."""
    if isinstance(packed, int):
        return [packed]
    values, place = [], 0
    while place < len(packed):
        value, place = _varint(packed, place)
        values.append(value)
    return values
