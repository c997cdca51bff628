"""A zip archive as PyTorch writes it: stored members one after the other. Anything else is refused.

Layout after PKWARE's APPNOTE 6.3. Since nothing may be compressed and no two members may overlap, what can be read is
never larger than the file.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onelook.errors import CheckpointError
from onelook.files.bounded import READ_FLAGS, printable
from onelook.interop.file_kind import HEAD_BYTES, refuse_by_head

MAX_FILE_BYTES = 4 << 30
MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 32 << 20
MAX_DESCRIPTOR_BYTES = 24
"""Most bytes that may stand between two members: the sizes once more, after the data."""

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_KNOWN_FLAGS = 0x0808  # sizes after the data; names in UTF-8
_STORED = 0
_HINT = "the file is damaged or was not written by PyTorch; fetch it again"

_PROGRAM_HINT = "give the checkpoint it was made of; what `onelook export` wrote runs under the name it was given"
_PROGRAMS = {
    "a TorchScript program": ("/constants.pkl", "/code/"),
    "an archive of torch.package": ("/.data/extern_modules",),
    "a program of torch.export": ("/serialized_exported_program.json", "/models/model.json", "/archive_format"),
}
"""What other archives of torch are, and what the names of their members contain, with a slash before each."""


@dataclass(frozen=True)
class Member:
    """One file in the archive.

    Attributes:
        header: where its local header starts, bytes.
        size: bytes.
        crc: CRC-32 of its content.
    """

    name: str
    header: int
    size: int
    crc: int
    flags: int


class ZipMembers:
    """The members of an open archive; each is read whole and checked when it is asked for."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file = file
        self._size = size
        entries, directory, count = _directory(file, size)
        self._members = _members(entries)
        if len(self._members) != count:
            raise CheckpointError(f"it has {len(self._members)} members, its end says {count}", hint=_HINT)
        self._starts = self._data_starts(directory)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all members."""
        return tuple(self._members)

    @property
    def file_bytes(self) -> int:
        """Size of the whole file."""
        return self._size

    def size(self, name: str) -> int:
        """Bytes of a member.

        Raises:
            CheckpointError: there is no such member.
        """
        if name not in self._members:
            raise CheckpointError(f"member `{printable(name)}` is missing", hint=_HINT)
        return self._members[name].size

    def read(self, name: str, max_bytes: int) -> bytearray:
        """The content of a member.

        Raises:
            CheckpointError: there is no such member, it is larger than `max_bytes`, or its checksum is wrong.
        """
        size = self.size(name)
        if size > max_bytes:
            raise CheckpointError(f"member `{printable(name)}` has {size} bytes, more than the limit of {max_bytes}")
        data = bytearray(size)
        self._file.seek(self._starts[name])
        if self._file.readinto(data) != size:
            raise CheckpointError(f"member `{printable(name)}` is cut off", hint=_HINT)
        if zlib.crc32(data) != self._members[name].crc:
            raise CheckpointError(f"the checksum of member `{printable(name)}` is wrong", hint=_HINT)
        return data

    def _data_starts(self, directory: int) -> dict[str, int]:
        """Where the content of each member starts; the members must fill the file up to its directory."""
        starts = {}
        offset = 0
        for member in sorted(self._members.values(), key=lambda member: member.header):
            gap = member.header - offset
            if gap < 0:
                raise CheckpointError(f"member `{printable(member.name)}` overlaps the one before it", hint=_HINT)
            if gap > (MAX_DESCRIPTOR_BYTES if offset else 0):
                raise CheckpointError(f"{gap} bytes before member `{printable(member.name)}` belong to none")
            starts[member.name] = self._data_start(member, directory)
            offset = starts[member.name] + member.size
        if not 0 <= directory - offset <= MAX_DESCRIPTOR_BYTES:
            raise CheckpointError("its members do not end where its directory starts", hint=_HINT)
        return starts

    def _data_start(self, member: Member, directory: int) -> int:
        raw = _read_at(self._file, member.header, _LOCAL.size)
        mark, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL.unpack(raw)
        name = _read_at(self._file, member.header + _LOCAL.size, name_bytes)
        start = int(member.header + _LOCAL.size + name_bytes + extra_bytes)
        is_same = (
            mark == b"PK\x03\x04"
            and flags == member.flags
            and method == _STORED
            and name == member.name.encode()
            and (crc in (0, member.crc))
            and all(number in (0, _FULL32, member.size) for number in (packed, size))
        )
        if not is_same:
            raise CheckpointError(f"member `{printable(member.name)}` is not where the directory says", hint=_HINT)
        if start + member.size > directory:
            raise CheckpointError(f"member `{printable(member.name)}` reaches into the directory", hint=_HINT)
        return start


@contextmanager
def open_members(path: Path) -> Iterator[ZipMembers]:
    """The members of the archive at `path`, while it is open.

    Raises:
        CheckpointError: no regular file, or no such archive; the message lacks the name of the file.
    """
    try:
        descriptor = os.open(path, READ_FLAGS)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise CheckpointError(f"it cannot be opened: {reason}") from problem
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise CheckpointError("it is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > MAX_FILE_BYTES:
            raise CheckpointError(f"it has {status.st_size} bytes, more than the limit of {MAX_FILE_BYTES}")
        refuse_by_head(file.read(HEAD_BYTES))
        yield ZipMembers(file, status.st_size)


def _directory(file: io.BufferedReader, size: int) -> tuple[bytes, int, int]:
    """The central directory, where it starts, and how many members its end claims."""
    if size < _END.size:
        raise CheckpointError("its end is missing: the file is cut off", hint=_HINT)
    end = size - _END.size
    mark, disk, first_disk, here, count, length, start, comment = _END.unpack(_read_at(file, end, _END.size))
    if mark != b"PK\x05\x06" or comment:
        raise CheckpointError("its end is missing: the file is cut off or something was added to it", hint=_HINT)
    locator = end - _LOCATOR64.size
    if locator >= 0 and _read_at(file, locator, 4) == b"PK\x06\x07":
        count, length, start, end = _directory64(file, locator, (count, length, start))
        disk = first_disk = 0
        here = count
    if disk or first_disk or here != count or count > MAX_MEMBERS or length > MAX_DIRECTORY_BYTES:
        raise CheckpointError(f"its directory claims {count} members in {length} bytes", hint=_HINT)
    if start + length != end or start < 0:
        raise CheckpointError("its directory is not where its end says", hint=_HINT)
    return _read_at(file, start, length), start, count


def _directory64(file: io.BufferedReader, locator: int, small: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Members, bytes and start of the directory as the zip64 end tells them, and where that end starts."""
    _, disk, end, disks = _LOCATOR64.unpack(_read_at(file, locator, _LOCATOR64.size))
    if disk or disks > 1 or end + _END64.size != locator:
        raise CheckpointError("its zip64 end is not where its locator says", hint=_HINT)
    mark, length, _, _, disk, first_disk, here, *large = _END64.unpack(_read_at(file, end, _END64.size))
    if mark != b"PK\x06\x06" or length != _END64.size - 12 or disk or first_disk or here != large[0]:
        raise CheckpointError("its zip64 end is broken", hint=_HINT)
    for short, full, limit in zip(small, large, (_FULL16, _FULL32, _FULL32), strict=True):
        if short not in (full, limit):
            raise CheckpointError(f"its two ends contradict each other: {short} and {full}", hint=_HINT)
    return large[0], large[1], large[2], end


def _members(entries: bytes) -> dict[str, Member]:
    found: dict[str, Member] = {}
    offset = 0
    while offset < len(entries):
        member, offset = _member(entries, offset)
        if member.name in found:
            raise CheckpointError(f"member `{printable(member.name)}` is there twice")
        found[member.name] = member
    return found


def _member(entries: bytes, offset: int) -> tuple[Member, int]:
    if offset + _ENTRY.size > len(entries):
        raise CheckpointError("its directory is cut off", hint=_HINT)
    fields = _ENTRY.unpack_from(entries, offset)
    mark, _, _, flags, method, _, _, crc, packed, size = fields[:10]
    name_bytes, extra_bytes, comment_bytes, disk, _, _, header = fields[10:]
    offset += _ENTRY.size
    after = offset + name_bytes + extra_bytes + comment_bytes
    if mark != b"PK\x01\x02" or after > len(entries):
        raise CheckpointError("its directory is broken", hint=_HINT)
    try:
        name = entries[offset : offset + name_bytes].decode()
    except UnicodeDecodeError as problem:
        raise CheckpointError("the name of a member is not UTF-8", hint=_HINT) from problem
    for what, marks in _PROGRAMS.items():
        if any(mark in f"/{name}" for mark in marks):
            raise CheckpointError(f"it is {what}, which holds code", hint=_PROGRAM_HINT)
    if method != _STORED:
        raise CheckpointError(
            f"member `{printable(name)}` is compressed (method {method}), which PyTorch never does",
            hint="if somebody packed the file again, pack it without compression",
        )
    if flags & ~_KNOWN_FLAGS or disk:
        raise CheckpointError(f"member `{printable(name)}` is encrypted or of another kind (flags {flags:#06x})")
    extra = entries[offset + name_bytes : after - comment_bytes]
    size, packed, header = _full_numbers(name, extra, (size, packed, header))
    if size != packed:
        raise CheckpointError(f"member `{printable(name)}` claims {packed} bytes for {size}", hint=_HINT)
    return Member(name, header, size, crc, flags), after


def _full_numbers(name: str, extra: bytes, numbers: tuple[int, int, int]) -> tuple[int, int, int]:
    """Size, packed size and header offset; where 32 bits were too few, from the zip64 part of `extra`."""
    if _FULL32 not in numbers:
        return numbers
    offset = 0
    while offset + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, offset)
        if kind == 1 and offset + 4 + length <= len(extra) and length == 8 * numbers.count(_FULL32):
            full = iter(struct.unpack_from(f"<{length // 8}Q", extra, offset + 4))
            size, packed, header = (next(full) if number == _FULL32 else number for number in numbers)
            return size, packed, header
        offset += 4 + length
    raise CheckpointError(f"the size of member `{printable(name)}` is missing", hint=_HINT)


def _read_at(file: io.BufferedReader, offset: int, length: int) -> bytes:
    if not 0 <= offset <= MAX_FILE_BYTES:
        raise CheckpointError("it points outside itself", hint=_HINT)
    file.seek(offset)
    data = file.read(length)
    if len(data) != length:
        raise CheckpointError("it is cut off", hint=_HINT)
    return data
