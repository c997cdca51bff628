"""The first directory of a TIFF file or of an EXIF block, which is a TIFF without pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_MAX_ENTRIES = 4096
_MAX_DIRECTORIES = 10_000
_MAX_PIECES = 1 << 20
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}  # TIFF type -> struct letter, unsigned integers only
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

_KIND, _WIDTH, _HEIGHT, _BITS, _ORIENTATION, _DNG_VERSION = 254, 256, 257, 258, 274, 50706
_REDUCED, _MASK = 1, 4  # of the kind
STRIPS, TILES = (273, 279), (324, 325)  # positions, byte counts


@dataclass(frozen=True)
class TiffHeader:
    """What the first directory says.

    Attributes:
        stored_hw: height and width, pixels; 0 where not given (EXIF).
        orientation: 1 to 8.
        orientation_at: where the two bytes of the orientation stand; 0 if it is not given.
        byte_order: `<` or `>`.
        last_byte: how long the file must be to hold its pixels; 0 if not given.
        is_dng: a camera's raw file.
        bits: bits per sample; 0 if not given.
    """

    stored_hw: tuple[int, int]
    orientation: int
    orientation_at: int
    byte_order: str
    last_byte: int
    is_dng: bool
    bits: int


@dataclass(frozen=True)
class TiffEntry:
    """A line of a directory: its values have a `type` of TIFF, and the first of the `count` values stands `at`."""

    type: int
    count: int
    at: int

    @property
    def num_bytes(self) -> int:
        """Of all values; 0 if the type is unknown."""
        return _TYPE_BYTES.get(self.type, 0) * self.count


def first_directory(data: bytes) -> tuple[str, dict[int, TiffEntry]]:
    """The byte order, `<` or `>`, and the entries of the first directory of the TIFF that `data` starts with.

    Raises:
        struct.error: the bytes end too early.
    """
    order = "<" if data[:2] == b"II" else ">"
    return order, _directory(data, order, _first_directory(data, order))[0]


def read_tiff_header(data: bytes) -> TiffHeader:
    """The first directory of the TIFF that `data` starts with, classic or BigTIFF.

    Raises:
        struct.error: the bytes end too early.
    """
    order, entries = first_directory(data)
    orientation = first_number(data, order, entries.get(_ORIENTATION))
    return TiffHeader(
        stored_hw=(first_number(data, order, entries.get(_HEIGHT)), first_number(data, order, entries.get(_WIDTH))),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        orientation_at=entries[_ORIENTATION].at if 1 <= orientation <= 8 else 0,
        byte_order=order,
        last_byte=max(_end_of(data, order, entries, tags) for tags in (STRIPS, TILES)),
        is_dng=_DNG_VERSION in entries,
        bits=first_number(data, order, entries.get(_BITS)),
    )


def count_pages(data: bytes) -> int:
    """How many images the TIFF that `data` holds has, 1 or more; smaller copies and masks of a page are none."""
    order = "<" if data[:2] == b"II" else ">"
    pages, seen, offset = 0, set[int](), _first_directory(data, order)
    try:
        while offset and offset not in seen and len(seen) < _MAX_DIRECTORIES:
            seen.add(offset)
            entries, offset = _directory(data, order, offset)
            pages += not first_number(data, order, entries.get(_KIND)) & (_REDUCED | _MASK)
    except struct.error:  # damaged behind the first page, where nothing is used
        return max(pages, 1)
    return max(pages, 1)


def _unpacked(layout: str, data: bytes, at: int) -> tuple[int, ...]:
    """As `struct.unpack_from`, whose OverflowError is a `struct.error` here: BigTIFF holds offsets beyond 2 ** 63."""
    if at > len(data):
        raise struct.error(f"there is no byte {at}")
    return struct.unpack_from(layout, data, at)


def _is_big(data: bytes, order: str) -> bool:
    return bool(_unpacked(order + "H", data, 2)[0] == 43)


def _first_directory(data: bytes, order: str) -> int:
    return int(_unpacked(order + ("8xQ" if _is_big(data, order) else "4xI"), data, 0)[0])


def _directory(data: bytes, order: str, start: int) -> tuple[dict[int, TiffEntry], int]:
    """The entries of the directory at `start`, and where the next one is; 0 if there is none."""
    is_big = _is_big(data, order)
    count_format, entry_format, size = ("Q", "HHQ", 20) if is_big else ("H", "HHI", 12)
    (num_entries,) = _unpacked(order + count_format, data, start)
    first = start + struct.calcsize("<" + count_format)
    inline = 8 if is_big else 4
    found: dict[int, TiffEntry] = {}
    for number in range(min(num_entries, _MAX_ENTRIES)):
        position = first + number * size
        tag, kind, count = _unpacked(order + entry_format, data, position)
        value_at = position + size - inline
        if _TYPE_BYTES.get(kind, 0) * count > inline:
            (value_at,) = _unpacked(order + ("Q" if is_big else "I"), data, value_at)
        found.setdefault(tag, TiffEntry(kind, count, value_at))
    following = data[first + num_entries * size :][:inline]
    return found, int.from_bytes(following, "little" if order == "<" else "big") if len(following) == inline else 0


def first_number(data: bytes, order: str, entry: TiffEntry | None) -> int:
    """The first value of an entry of whole numbers; 0 if there is none."""
    if entry is None or entry.type not in _FORMATS or entry.count < 1:
        return 0
    return int(_unpacked(order + _FORMATS[entry.type], data, entry.at)[0])


def numbers_of(data: bytes, order: str, entry: TiffEntry | None) -> npt.NDArray[np.uint64]:
    """All values of an entry of whole numbers; none if it is missing or has millions.

    Raises:
        struct.error: the bytes end too early.
    """
    if entry is None or entry.type not in _FORMATS or not 0 < entry.count <= _MAX_PIECES:
        return np.zeros(0, np.uint64)
    _unpacked(f"{entry.num_bytes}x", data, entry.at)
    number = np.dtype(order + _FORMATS[entry.type].replace("I", "u4").replace("H", "u2").replace("Q", "u8"))
    return np.frombuffer(data, number, entry.count, entry.at).astype(np.uint64)


def _end_of(data: bytes, order: str, entries: dict[int, TiffEntry], tags: tuple[int, int]) -> int:
    """The byte after the last strip or tile; 0 if there is none."""
    starts, counts = (numbers_of(data, order, entries.get(tag)).astype(np.float64) for tag in tags)
    pieces = min(len(starts), len(counts))
    return int((starts[:pieces] + counts[:pieces]).max(initial=0))
