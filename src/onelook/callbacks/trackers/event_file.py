"""TensorBoard's event file: records with checksums, one after the other.

TensorBoard's own writer computes the checksum (CRC-32C) byte by byte in Python: a sixth of a second per megabyte of
images, in which Python does little else. Here many places of the data are worked on at once.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
ALL_ONES = 0xFFFFFFFF
MASK_DELTA = 0xA282EAD8
MIN_LANES = 16
LANE_BYTES = 256


class EventFile:
    """A new file of records; what is written can be read at once.

    Args:
        path: must not exist.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")

    def write(self, record: bytes) -> None:
        """Add one record: its length, a checksum of that, itself, a checksum of itself."""
        length = struct.pack("<Q", len(record))
        checksums = (struct.pack("<I", masked(crc32c(part))) for part in (length, record))
        self._file.write(length + next(checksums) + record + next(checksums))
        self._file.flush()

    def close(self) -> None:
        """Nothing more will be written."""
        self._file.close()


def masked(checksum: int) -> int:
    """A checksum as event files hold it: turned by 15 bits, plus a constant."""
    return (((checksum >> 15) | (checksum << 17)) + MASK_DELTA) & ALL_ONES


def crc32c(data: bytes) -> int:
    """CRC-32C of `data`.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    if len(data) < MIN_LANES * LANE_BYTES:
        return _crc_of_few(data)
    # Zeros in front change nothing if the register starts at 0; a start of all ones is 4 inverted bytes of data.
    num_lanes = 1 << (-(-len(data) // LANE_BYTES) - 1).bit_length()
    padded = np.zeros(num_lanes * LANE_BYTES, np.uint8)
    first = len(padded) - len(data)
    padded[first:] = np.frombuffer(data, np.uint8)
    padded[first : first + 4] ^= 0xFF
    checksums = np.zeros(num_lanes, np.uint32)
    for column in padded.reshape(num_lanes, LANE_BYTES).T:
        checksums = _table()[(checksums ^ column) & 0xFF] ^ (checksums >> 8)
    shift = _shift_of_a_lane()
    while len(checksums) > 1:
        checksums = _applied(shift, checksums[0::2]) ^ checksums[1::2]
        shift = _applied(shift, shift)
    return int(checksums[0]) ^ ALL_ONES


def _crc_of_few(data: bytes) -> int:
    table, register = _table().tolist(), ALL_ONES
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return int(register) ^ ALL_ONES


def _applied(matrix: Words, vectors: Words) -> Words:
    """Products of a 32 x 32 matrix over two elements, given by its columns, with (N,) vectors of 32 bits."""
    products = np.zeros_like(vectors)
    for bit, column in enumerate(matrix):
        products ^= ((vectors >> np.uint32(bit)) & np.uint32(1)) * column
    return products


@cache
def _table() -> Words:
    """What each of 256 bytes does to a register of zeros."""
    register = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        register = (register >> 1) ^ ((register & 1) * np.uint32(POLYNOMIAL))
    return register


@cache
def _shift_of_a_lane() -> Words:
    """What `LANE_BYTES` bytes of zeros do to a register with one bit set, for each of the 32 bits."""
    register: Words = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(LANE_BYTES):
        register = _table()[register & 0xFF] ^ (register >> 8)
    return register
