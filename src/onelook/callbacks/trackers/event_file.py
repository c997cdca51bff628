"""TensorBoard's event file: records with checksums, one after the other.

TensorBoard's own writer computes the checksum (CRC-32C) byte by byte in Python: a sixth of a second per megabyte of
images, in which Python does little else. google-crc32c does it in C.
"""

from __future__ import annotations

import struct
from pathlib import Path

import google_crc32c

ALL_ONES = 0xFFFFFFFF
MASK_DELTA = 0xA282EAD8


class EventFile:
    """A new file of records, flushed after each. OSError if it exists already or cannot be created."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")

    def write(self, record: bytes) -> None:
        """Add one record: its length, a checksum of that, itself, a checksum of itself."""
        length = struct.pack("<Q", len(record))
        checksums = (struct.pack("<I", masked(google_crc32c.value(part))) for part in (length, record))
        self._file.write(length + next(checksums) + record + next(checksums))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def masked(checksum: int) -> int:
    """A checksum as event files hold it: rotated right by 15 bits, plus a constant."""
    return (((checksum >> 15) | (checksum << 17)) + MASK_DELTA) & ALL_ONES
