"""Reading of files that others made: regular files only, never more than a stated number of bytes."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from onelook.errors import CONTROLS, DataError, SettingsError

StrPath = str | os.PathLike[str]

READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
"""Flags to open a file of unknown origin: a pipe under its name does not block."""

MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4095
"""What file systems take."""


def read_bounded(path: StrPath, max_bytes: int, *, prefix: bool = False) -> bytes:
    """The bytes of a regular file.

    Pipes, sockets and devices are refused without being opened for long: reading never blocks.

    Args:
        max_bytes: a longer file is refused, or cut if `prefix` is set.
        prefix: only the first `max_bytes` are wanted.

    Raises:
        DataError: the file is missing, unreadable, no regular file, or too large.
    """
    try:
        descriptor = os.open(path, READ_FLAGS)
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name
        raise DataError(f"file `{printable(path)}` cannot be opened: {_cause(problem)}") from problem
    try:
        status = os.fstat(descriptor)
        _require_regular(path, status, status.st_size if prefix else max_bytes)
        return _read_up_to(descriptor, min(status.st_size, max_bytes))
    except OSError as problem:
        raise DataError(f"file `{printable(path)}` cannot be read: {_cause(problem)}") from problem
    finally:
        os.close(descriptor)


def sha256_of(path: StrPath) -> str:
    """The SHA-256 of a file of any size, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123 - names of any kind
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def pieces_of(path: StrPath, max_bytes: int, *, piece_bytes: int = 1 << 24) -> Iterator[bytes]:
    """The bytes of a regular file in pieces, for files that are too large to be read at once.

    Args:
        max_bytes: a longer file is refused.

    Raises:
        DataError: as `read_bounded`, when the first piece is asked for, or one that cannot be read.
    """
    with _opened(path, max_bytes) as (file, missing):
        while missing > 0 and (piece := file.read(min(missing, piece_bytes))):
            missing -= len(piece)
            yield piece


class MappedFile(mmap.mmap):
    """A file whose bytes are read from the disk when they are needed.

    Reading past the end of a file that became shorter would kill the process. Its length and slices raise a DataError
    instead; what reads the buffer directly, such as `struct.unpack_from`, is not checked.
    """

    path: StrPath = ""

    def __len__(self) -> int:
        self._require_whole()
        return super().__len__()

    def __getitem__(self, key: Any, /) -> Any:
        self._require_whole()
        return super().__getitem__(key)

    def _require_whole(self) -> None:
        if self.size() < super().__len__():
            raise DataError(f"file `{printable(self.path)}` became shorter while it was read")


def mapped(path: StrPath, max_bytes: int) -> MappedFile:
    """The bytes of a regular file, each read from the disk when it is needed.

    Args:
        max_bytes: a longer file is refused.

    Raises:
        DataError: as `read_bounded`, or the file is empty.
    """
    with _opened(path, max_bytes) as (file, _):
        content = MappedFile(file.fileno(), 0, access=mmap.ACCESS_READ)
        content.path = path
        return content


def content_digest(data: bytes) -> bytes:
    """16 bytes that are equal for equal content, and for no other that anyone will meet."""
    return hashlib.blake2b(data, digest_size=16).digest()


def file_digest(path: StrPath, max_bytes: int) -> bytes:
    """The `content_digest` of a regular file, read in pieces; empty if it cannot be read or has more bytes."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        for piece in pieces_of(path, max_bytes):
            digest.update(piece)
    except DataError:
        return b""
    return digest.digest()


def refuse_impossible(what: str, path: StrPath, *, where: Callable[[], str] = str) -> None:
    """Raise SettingsError if no disk can hold `path`; `what` names it in the message, and `where` gives its place.
    Addresses and patterns may be longer."""
    text = os.fsdecode(path)
    try:
        sizes = [len(os.fsencode(name)) for name in Path(text).parts]
    except UnicodeEncodeError as problem:
        raise SettingsError(
            f"{what}{where()} is no path: it has a character that is none", hint="type the path"
        ) from problem
    if "\0" in text:
        raise SettingsError(f"{what}{where()} is no path: it has a null character", hint="type the path")
    if os.name != "posix" or "://" in text or not {*text}.isdisjoint("*?["):
        return
    if max(sizes, default=0) > MAX_NAME_BYTES or len(os.fsencode(text)) > MAX_PATH_BYTES:
        raise SettingsError(
            f"{what}{where()} is no path: it is too long: it starts with `{printable(text[:40])}`",
            hint=f"a path has at most {MAX_PATH_BYTES} bytes, each name in it {MAX_NAME_BYTES}",
        )


def has_controls(text: str) -> bool:
    """Whether a text would end a line, move the cursor of a terminal or turn the direction of writing.

    >>> has_controls("café"), has_controls(chr(27) + "[31m")
    (False, True)
    """
    return CONTROLS.search(text) is not None


def printable(path: StrPath | bytes) -> str:
    r"""A file name as one line of UTF-8, whatever its bytes are.

    >>> printable("a" + chr(10) + "b.jpg")
    'a\\x0ab.jpg'
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "".join(f"\\x{byte:02x}" for byte in c.encode("utf-8")) for c in text)


@contextmanager
def _opened(path: StrPath, max_bytes: int) -> Iterator[tuple[FileIO, int]]:
    """A regular file of so many bytes at most, and how many it has; errors within, as DataError."""
    try:
        with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, READ_FLAGS)) as file:
            status = os.fstat(file.fileno())
            _require_regular(path, status, max_bytes)
            yield file, status.st_size
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name, or no bytes to map
        raise DataError(f"file `{printable(path)}` cannot be read: {_cause(problem)}") from problem


def _require_regular(path: StrPath, status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"`{printable(path)}` is not a regular file")
    if status.st_size > max_bytes:
        raise DataError(f"file `{printable(path)}` has {status.st_size} bytes, more than the limit of {max_bytes}")


def _read_up_to(descriptor: int, wanted: int) -> bytes:
    first = os.read(descriptor, wanted)
    if len(first) == wanted:
        return first
    parts = [first]
    missing = wanted - len(first)
    while missing and parts[-1]:
        parts.append(os.read(descriptor, missing))
        missing -= len(parts[-1])
    return b"".join(parts)


def _cause(problem: Exception) -> str:
    return problem.strerror or str(problem) if isinstance(problem, OSError) else str(problem)
