"""What an image file says of itself, read without decoding a pixel: format, size, rotation, and whether it is whole.

All parsers stay inside the bytes they are given and take time in proportion to them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from onelook.files.fault_kinds import FaultKind
from onelook.files.tiff_header import TiffHeader, count_pages, read_tiff_header

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_END = b"\xff\xd9"
MAX_PIXELS = 100_000_000
"""Largest image by default: 300 MB decoded, however few bytes a blank page may take in its file."""
MOST_PIXELS = 1 << 30
"""Whatever anybody says."""

_FOREIGN = (
    (b"GIF8", "a GIF"), (b"PF\n", "a PFM"), (b"Pf\n", "a PFM"), (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"), (b"%PDF", "a PDF"), (b"<", "an HTML, XML or SVG"),
    (b"PK\x03\x04", "a ZIP"), (b"\x1f\x8b", "a gzip"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)  # fmt: skip
_PNG_IMAGE = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_PALETTE = 3  # type of colour
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # bits, by the type of colour
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the type of colour
_PNG_PASSES = (  # first column and row, and steps, of Adam7
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_LAST_PNG_FILTER = 4
_INFLATED_BYTES = 1 << 16  # of the file at a time; a thousand times as much can come out
_NO_FRAME = {0xC4, 0xC8, 0xCC}


class DamagedImage(Exception):  # noqa: N818 - the reason is the name
    """An image that cannot be used; the text is the reason, without the file's name, and `kind` that of the fault."""

    def __init__(self, reason: str, *, kind: FaultKind | None = None) -> None:
        super().__init__(reason)
        self.kind = kind


class ShortOfBytes(DamagedImage):
    """The bytes end within the header: the file is cut, or only its beginning was given."""


@dataclass(frozen=True)
class JpegFrame:
    """What a JPEG says before its coded data.

    Attributes:
        process: the marker of the frame, 0xC0 for baseline and so on.
        components: identifiers, in order; one for grey, three for colour, four for CMYK.
        scans_at: where the header of the first scan stands.
    """

    process: int
    components: tuple[int, ...]
    scans_at: int


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file.

    Attributes:
        kind: jpeg, png, bmp, webp or tiff, by content; MPO is jpeg.
        stored_hw: height and width as stored, pixels.
        orientation: EXIF code 1 to 8; 1 means as it is stored.
        bits: bits per sample of PNG and TIFF; 8 for the others.
        jpeg: what a JPEG says before its coded data.
    """

    kind: str
    stored_hw: tuple[int, int]
    orientation: int = 1
    bits: int = 8
    jpeg: JpegFrame | None = None
    tiff: TiffHeader | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width once the EXIF rotation is applied, pixels."""
        height, width = self.stored_hw
        return (width, height) if self.orientation >= 5 else (height, width)


def read_header(data: bytes) -> ImageHeader:
    """The header of the image file that starts with `data`.

    Raises:
        DamagedImage: not one of bmp, jpeg, png, tiff, webp; or the header makes no sense.
        ShortOfBytes: more of the file is needed.
    """
    kind = _kind_of(data[:64])
    try:
        header = _READERS[kind](data)
    except (struct.error, IndexError) as problem:
        raise ShortOfBytes("the file ends within its header") from problem
    if min(header.stored_hw) < 1:
        raise DamagedImage(f"the header gives a size of {header.stored_hw[1]} x {header.stored_hw[0]} pixels")
    return header


def check_whole(data: bytes, header: ImageHeader) -> None:
    """Raise DamagedImage if the parts that the file announces are not all inside it.

    A JPEG passes: see `decode_jpeg`.
    """
    check = _CHECKS.get(header.kind)
    if check is None:
        return
    try:
        check(data, header)
    except struct.error as problem:
        raise ShortOfBytes("the file ends within its header") from problem


def _kind_of(data: bytes) -> str:
    """The kind of an image file by its first 64 bytes."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data.startswith(b"BM"):
        return "bmp"
    if not data:
        raise DamagedImage("the file is empty")
    if not data.strip(b"\0"):
        raise DamagedImage("the file begins with zeros: it was not written to its end")
    if data[4:8] == b"ftyp":
        raise DamagedImage("this is an AVIF, HEIC or MP4 file; only bmp, jpeg, png, tiff and webp images are read")
    for magic, what in _FOREIGN:
        if data.startswith(magic):
            raise DamagedImage(f"this is {what} file; only bmp, jpeg, png, tiff and webp images are read")
    raise DamagedImage("this is not an image: only bmp, jpeg, png, tiff and webp are read")


def _read_jpeg(data: bytes) -> ImageHeader:
    position, orientation, size, process, components = 2, 1, (0, 0), 0, b""
    while True:
        if data[position] != 0xFF:
            raise DamagedImage(f"byte {position} should start a JPEG segment and does not")
        while data[position] == 0xFF:
            position += 1
        marker = data[position]
        if marker == JPEG_END[1]:
            raise DamagedImage("the JPEG ends before its image")
        position += 1
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2:
            raise DamagedImage(f"a JPEG segment at byte {position} has the impossible length {length}")
        if marker == 0xE1 and data[position + 2 : position + 8] == b"Exif\0\0":
            orientation = exif_orientation(data[position + 8 : position + length])
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width, num_components = struct.unpack_from(">HHB", data, position + 3)
            size = (height, width)
            process, components = marker, data[position + 8 : position + 8 + 3 * num_components : 3]
        if marker == 0xDA:
            struct.unpack_from(f"{length}x", data, position)
            frame = JpegFrame(process, tuple(components), scans_at=position)
            return ImageHeader("jpeg", size, orientation, jpeg=frame)
        position += length


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of the content of each chunk, up to and with IEND; stops where the bytes end."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        if length > 0x7FFFFFFF or not name.isalpha():
            raise DamagedImage(f"PNG chunk at byte {position} has the impossible name {name!r} or length {length}")
        yield name, position + 8, length
        if name == b"IEND":
            return
        position += 12 + length
    yield b"", position, 0


def _read_png(data: bytes) -> ImageHeader:
    length, name, width, height, bits = struct.unpack_from(">I4sIIB", data, len(PNG_SIGNATURE))
    if name != b"IHDR" or length != 13:
        raise DamagedImage("the PNG does not start with its header chunk")
    orientation = 1
    for name, start, length in png_chunks(data):
        if not name:
            raise ShortOfBytes("the PNG is truncated: its end chunk is missing")
        if name == b"eXIf":
            orientation = exif_orientation(data[start : start + length])
    return ImageHeader("png", (height, width), orientation, bits)


def _check_png(data: bytes, header: ImageHeader) -> None:
    depth, colour, *methods, interlacing = data[24:29]
    if depth not in _PNG_DEPTHS.get(colour, ()) or any(methods) or interlacing > 1:
        raise DamagedImage(
            f"the PNG header makes no sense: {depth} bits, colours {colour}, methods {data[26:29].hex()}"
        )
    order: list[bytes] = []
    for name, start, length in png_chunks(data):
        if name in _PNG_IMAGE and (name != b"PLTE" or colour == _PNG_PALETTE):
            order += [name] if [name] != order[-1:] or name != b"IDAT" else []
        if name == b"PLTE" and colour == _PNG_PALETTE and (length % 3 or not 0 < length <= 3 * 256):
            raise DamagedImage(f"the palette of the PNG has {length} bytes")
        if start + length + 4 > len(data):
            raise DamagedImage(f"PNG chunk {name.decode()} claims {length} bytes, more than the file has")
        if name[:1].isupper():
            (stored,) = struct.unpack_from(">I", data, start + length)
            if _checksum(data, start - 4, start + length) != stored:
                raise DamagedImage(f"PNG chunk {name.decode()} at byte {start - 8} is damaged: its checksum is wrong")
    if b"IDAT" not in order:
        raise DamagedImage("the PNG holds no pixels")
    if order != [b"IHDR", *([b"PLTE"] if colour == _PNG_PALETTE else []), b"IDAT", b"IEND"]:
        raise DamagedImage(f"the PNG is damaged: its chunks are {b', '.join(order[:8]).decode()}, in this order")


def _checksum(data: bytes, start: int, stop: int) -> int:
    """Of a part of a file, in slices: a file that is mapped checks each."""
    checksum = 0
    for at in range(start, stop, _INFLATED_BYTES):
        checksum = zlib.crc32(data[at : min(at + _INFLATED_BYTES, stop)], checksum)
    return checksum


def check_png_pixels(data: bytes) -> None:
    """Raise DamagedImage if the compressed pixels of a PNG are not just those that its header announces.

    Its checksums may be right all the same, if a program wrote it so.
    """
    width, height, depth, colour, interlaced = struct.unpack_from(">IIBBxxB", data, len(PNG_SIGNATURE) + 8)
    bits = depth * PNG_CHANNELS.get(colour, 1)
    passes = _PNG_PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    missing = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
    stride = 1 + -(-width * bits // 8)
    inflater = zlib.decompressobj()
    try:
        for name, start, length in png_chunks(data):
            for at in range(start, start + length if name == b"IDAT" else start, _INFLATED_BYTES):
                pixels = inflater.decompress(data[at : min(at + _INFLATED_BYTES, start + length)])
                if not interlaced and max(pixels[missing % stride :: stride], default=0) > _LAST_PNG_FILTER:
                    raise DamagedImage("the PNG is damaged: a row begins with a filter that does not exist")
                missing -= len(pixels)
                if missing < 0 or inflater.unused_data:
                    raise DamagedImage("the PNG is damaged: it holds more pixels than its header says")
    except zlib.error as problem:
        raise DamagedImage(f"the PNG is damaged: its pixels cannot be unpacked ({problem})") from problem
    if missing or not inflater.eof:
        raise DamagedImage("the PNG is truncated: a part of the image is missing")


def image_of_png(data: bytes) -> bytes:
    """A PNG that is whole, with the chunks of its image alone; the same bytes if it has no others."""
    chunks = [(name, start - 8, start + length + 4) for name, start, length in png_chunks(data)]
    needed = _PNG_IMAGE if data[25] == _PNG_PALETTE else _PNG_IMAGE - {b"PLTE"}
    if all(name in needed for name, _, _ in chunks) and data.endswith(_PNG_END):
        return data
    view = memoryview(data)
    parts = [view[start:stop] for name, start, stop in chunks if name in needed and name != b"IEND"]
    return b"".join([PNG_SIGNATURE, *parts, _PNG_END])


def num_images(data: bytes, header: ImageHeader) -> int:
    """How many images a whole file holds: pages of a TIFF, frames of a PNG or WebP that moves."""
    if header.kind == "tiff":
        return count_pages(data)
    if header.kind == "png":
        counts = (struct.unpack_from(">I", data, at)[0] for name, at, _ in png_chunks(data) if name == b"acTL")
        return max(1, next(counts, 1))
    return max(1, sum(name == b"ANMF" for name, _, _ in _webp_chunks(data))) if header.kind == "webp" else 1


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of the content of each chunk, as far as the bytes go."""
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        yield name, position + 8, length
        position += 8 + length + length % 2


def _read_webp(data: bytes) -> ImageHeader:
    first = data[12:16]
    if first == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif first == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif first == b"VP8X":
        struct.unpack_from("<10x", data, 20)
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        if data[20] & 0x08:  # the flag that an EXIF chunk follows
            return ImageHeader("webp", (height, width), _webp_orientation(data))
    else:
        raise DamagedImage(f"the WebP starts with the unknown chunk {first!r}")
    return ImageHeader("webp", (height, width))


def _webp_orientation(data: bytes) -> int:
    for name, start, length in _webp_chunks(data):
        if name == b"EXIF":
            return exif_orientation(data[start : start + length].removeprefix(b"Exif\0\0"))
    raise ShortOfBytes("the file ends within its header")


def _check_webp(data: bytes, header: ImageHeader) -> None:
    announced = int.from_bytes(data[4:8], "little") + 8
    if announced > len(data):
        raise DamagedImage(f"the WebP is truncated: {len(data)} of {announced} bytes are there")


def _read_bmp(data: bytes) -> ImageHeader:
    (header_size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", data, 18)
    return ImageHeader("bmp", (abs(height), width))


def _check_bmp(data: bytes, header: ImageHeader) -> None:
    (pixels_at,) = struct.unpack_from("<I", data, 10)
    (header_size,) = struct.unpack_from("<I", data, 14)
    (bits,) = struct.unpack_from("<H", data, 24 if header_size == 12 else 28)
    compression = 0 if header_size == 12 else struct.unpack_from("<I", data, 30)[0]
    height, width = header.stored_hw
    needed = pixels_at + (width * bits + 31) // 32 * 4 * height if compression in (0, 3) else pixels_at + 1
    if needed > len(data):
        raise DamagedImage(f"the BMP is truncated: {len(data)} of {needed} bytes are there")


def _read_tiff(data: bytes) -> ImageHeader:
    tiff = read_tiff_header(data)
    if tiff.is_dng:
        raise DamagedImage("this is a DNG raw file; develop it to jpeg, png or tiff first")
    return ImageHeader("tiff", tiff.stored_hw, tiff.orientation, tiff.bits, tiff=tiff)


def _check_tiff(data: bytes, header: ImageHeader) -> None:
    if header.tiff is not None and header.tiff.last_byte > len(data):
        raise DamagedImage(f"the TIFF is truncated: {len(data)} of {header.tiff.last_byte} bytes are there")


def exif_orientation(exif: bytes) -> int:
    """The orientation code of an EXIF block, 1 to 8; 1 if it has none or makes no sense."""
    try:
        return read_tiff_header(exif).orientation
    except (struct.error, IndexError):
        return 1


_READERS: dict[str, Callable[[bytes], ImageHeader]] = {
    "jpeg": _read_jpeg,
    "png": _read_png,
    "webp": _read_webp,
    "bmp": _read_bmp,
    "tiff": _read_tiff,
}
_CHECKS: dict[str, Callable[[bytes, ImageHeader], None]] = {
    "png": _check_png,
    "webp": _check_webp,
    "bmp": _check_bmp,
    "tiff": _check_tiff,
}
