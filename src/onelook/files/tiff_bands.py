"""A TIFF cut into bands: files of their own, with some of its strips or rows of tiles each, which stay as they are."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from onelook.files.image_headers import DamagedImage
from onelook.files.tiff_header import STRIPS, TILES, first_directory, first_number, numbers_of

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _SAMPLES, _ROWS, _PLANES = 256, 257, 258, 259, 262, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
# What the pixels depend on, besides the size and the offsets of strips and tiles: colours, order of bits, options of
# compressions, predictor, palette, extra and signed samples, tables of JPEG, coefficients of YCbCr.
_KEPT = frozenset(
    {_WIDTH, _BITS, _COMPRESSION, _COLOURS, 266, _SAMPLES, _PLANES, 292, 293, 317, 320, _TILE_WIDTH, _TILE_HEIGHT, 332,
     338, 339, 347, 529, 530, 531, 532}
)  # fmt: skip
_UNCOMPRESSED, _OLD_JPEG, _YCBCR, _SEPARATE = 1, 6, 6, 2
_LONG = 4  # type
_HEADER = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}


def tiff_bands(data: bytes, most_rows: int) -> Iterator[bytes]:
    """TIFF files which, one below the other, are the image that `data` starts with; without its orientation.

    Args:
        most_rows: largest number of rows of a band, unless a strip or a row of tiles has more.

    Raises:
        DamagedImage: it is not stored in bands, or one is missing.
        struct.error: the bytes end within the header.
    """
    order, entries = first_directory(data)
    number = {tag: first_number(data, order, entry) for tag, entry in entries.items()}
    height, compression = number.get(_HEIGHT, 0), number.get(_COMPRESSION, _UNCOMPRESSED)
    tags = TILES if TILES[0] in entries else STRIPS
    starts, counts = (numbers_of(data, order, entries.get(tag)) for tag in tags)
    rows = number.get(_TILE_HEIGHT if tags == TILES else _ROWS, 0) or height
    if number.get(_PLANES) == _SEPARATE or compression == _OLD_JPEG or not 0 < len(starts) == len(counts):
        raise DamagedImage("the TIFF is not stored in bands")
    across = -(-number.get(_WIDTH, 0) // (number.get(_TILE_WIDTH, 0) or 1)) if tags == TILES else 1
    starts, counts = (values[: -(-height // rows) * across] for values in (starts, counts))
    if tags == STRIPS and compression == _UNCOMPRESSED and number.get(_COLOURS) != _YCBCR:
        row_bytes = -(-number.get(_WIDTH, 0) * number.get(_SAMPLES, 1) * number.get(_BITS, 1) // 8)
        if row_bytes > len(data):
            raise DamagedImage("the TIFF is damaged: strips or tiles are missing")
        starts = (starts[:, None] + np.arange(min(rows, height), dtype=np.uint64) * np.uint64(row_bytes)).ravel()
        starts, rows = starts[:height], 1
        counts = np.full_like(starts, row_bytes)
    if len(starts) < -(-height // rows) * across or int((starts + counts).max()) > len(data):
        raise DamagedImage("the TIFF is damaged: strips or tiles are missing")
    kept = {
        tag: (entry.type, entry.count, data[entry.at : entry.at + entry.num_bytes])
        for tag, entry in entries.items()
        if tag in _KEPT
    }
    num_rows = max(1, most_rows // rows) * rows
    for top in range(0, height, num_rows):
        size = min(num_rows, height - top)
        pieces = slice(top // rows * across, -(-(top + size) // rows) * across)
        fields = {**kept, _HEIGHT: _longs(order, [size]), _ROWS: _longs(order, [min(rows, size)])}
        if tags == TILES:
            del fields[_ROWS]
        found = [data[start : start + count] for start, count in zip(starts[pieces], counts[pieces], strict=True)]
        yield _tiff_of(order, fields, tags, found)


def _longs(order: str, values: list[int] | npt.NDArray[np.uint64]) -> tuple[int, int, bytes]:
    return _LONG, len(values), np.asarray(values, order + "u4").tobytes()


def _tiff_of(
    order: str, fields: dict[int, tuple[int, int, bytes]], tags: tuple[int, int], pieces: list[bytes]
) -> bytes:
    """A TIFF of its fields, by tag, and its strips or tiles, whose offsets and lengths have these `tags`."""
    lengths = np.array([len(piece) for piece in pieces], np.uint64)
    fields = {**fields, tags[0]: _longs(order, lengths), tags[1]: _longs(order, lengths)}
    first_value = 8 + 2 + 12 * len(fields) + 4
    first_piece = first_value + sum(len(value) for _, _, value in fields.values() if len(value) > 4)
    fields[tags[0]] = _longs(order, first_piece + np.cumsum(lengths) - lengths)
    directory, values = struct.pack(order + "H", len(fields)), b""
    for tag, (kind, count, value) in sorted(fields.items()):
        at = struct.pack(order + "I", first_value + len(values))
        directory += struct.pack(order + "HHI", tag, kind, count) + (value.ljust(4, b"\0") if len(value) <= 4 else at)
        values += value if len(value) > 4 else b""
    return b"".join([_HEADER[order], directory, bytes(4), values, *pieces])
