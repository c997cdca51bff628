"""Reading of files that others made: regular files only, never more than a stated number of bytes."""

from __future__ import annotations

import hashlib
import os
import stat

from onelook.errors import DataError

StrPath = str | os.PathLike[str]

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def read_bounded(path: StrPath, max_bytes: int, *, prefix: bool = False) -> bytes:
    """The bytes of a regular file.

    Pipes, sockets and devices are refused without being opened for long: reading never blocks.

    Args:
        path: any name that the system knows, UTF-8 or not.
        max_bytes: a longer file is refused, or cut if `prefix` is set.
        prefix: only the first `max_bytes` are wanted.

    Raises:
        DataError: the file is missing, unreadable, no regular file, or too large.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name
        raise DataError(f"file `{printable(path)}` cannot be opened: {_cause(problem)}") from problem
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"`{printable(path)}` is not a regular file")
        if status.st_size > max_bytes and not prefix:
            raise DataError(f"file `{printable(path)}` has {status.st_size} bytes, more than the limit of {max_bytes}")
        return _read_up_to(descriptor, min(status.st_size, max_bytes))
    except OSError as problem:
        raise DataError(f"file `{printable(path)}` cannot be read: {_cause(problem)}") from problem
    finally:
        os.close(descriptor)


def content_digest(data: bytes) -> bytes:
    """16 bytes that are equal for equal content, and for no other that anyone will meet."""
    return hashlib.blake2b(data, digest_size=16).digest()


def printable(path: StrPath | bytes) -> str:
    r"""A file name as one line of UTF-8, whatever its bytes are.

    >>> printable("a" + chr(10) + "b.jpg")
    'a\\x0ab.jpg'
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "".join(f"\\x{byte:02x}" for byte in c.encode("utf-8")) for c in text)


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
