"""Zip archives written field by field, so that tests can make wrong ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

FOLDER = "archive"


@dataclass(frozen=True)
class Part:
    """One member and what its headers say about it; None says what is true.

    Attributes:
        name, content: as stored.
        method, flags, size, packed, crc, header: in the directory.
        local_name, local_size: in the header before the content.
        extra: of the directory.
    """

    name: str
    content: bytes
    method: int = 0
    flags: int = 0x0800
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    header: int | None = None
    local_name: str | None = None
    local_size: int | None = None
    extra: bytes = b""


@dataclass(frozen=True)
class End:
    """What the end of the archive says; None says what is true."""

    count: int | None = None
    length: int | None = None
    start: int | None = None
    before: bytes = field(default=b"")
    after: bytes = field(default=b"")


def archive(parts: Iterable[Part], end: End | None = None) -> bytes:
    """The bytes of an archive."""
    end = end or End()
    data, directory = b"", b""
    listed = list(parts)
    for part in listed:
        place = len(data)
        crc = zlib.crc32(part.content) if part.crc is None else part.crc
        size = len(part.content) if part.size is None else part.size
        packed = size if part.packed is None else part.packed
        told = len(part.content) if part.local_size is None else part.local_size
        local_name = (part.local_name or part.name).encode()
        data += struct.pack(
            "<4s5H3I2H", b"PK\3\4", 20, part.flags, part.method, 0, 0, crc, told, told, len(local_name), 0
        )
        data += local_name + part.content
        name = part.name.encode()
        header = place if part.header is None else part.header
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 20, 20, part.flags, part.method, 0, 0, crc, packed, size, len(name),
            len(part.extra), 0, 0, 0, 0, header,
        )  # fmt: skip
        directory += name + part.extra
    start = len(data) if end.start is None else end.start
    length = len(directory) if end.length is None else end.length
    count = len(listed) if end.count is None else end.count
    last = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, length, start, 0)
    return data + directory + end.before + last + end.after


def torch_archive(pickle: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """An archive with this pickle, as torch lays it out."""
    parts = [Part(f"{FOLDER}/data.pkl", pickle)]
    parts += [Part(f"{FOLDER}/data/{key}", content) for key, content in (storages or {}).items()]
    return archive([*parts, Part(f"{FOLDER}/version", b"3\n")])


def end64(count: int, length: int, start: int, place: int, *, told_place: int | None = None) -> bytes:
    """A zip64 end and its locator; `place` is where they are put."""
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    return record + struct.pack("<4sIQI", b"PK\6\7", 0, place if told_place is None else told_place, 1)
