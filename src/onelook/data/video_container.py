"""What a video file says of itself without being decoded: its kind, by content, and whether it is whole."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

Kind = Literal["mp4", "avi", "matroska", "ts", "gif", "other"]

HEAD_BYTES = 400
_MATROSKA, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
_QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
_OTHERS = (
    bytes.fromhex("3026b2758e66cf11"),  # ASF: .wmv
    bytes.fromhex("000001b3"), bytes.fromhex("000001ba"),  # MPEG-1 and 2
    b"FLV\x01", b"OggS", b"DKIF", b"YUV4MPEG2 ", b".RMF", bytes.fromhex("060e2b34020501010d010201"),  # MXF
)  # fmt: skip
_BOXES_WITH_FRAMES = (*_QUICKTIME_BOXES[:3], b"moof", b"styp", b"sidx")  # without whose end frames are lost
_TS_SYNC, _TS_PACKET, _M2TS_PACKET = 0x47, 188, 192
_LEAST_BOX = 8  # bytes
_MAX_BOXES, _MAX_INDEX_BYTES = 10_000, 1 << 26
_NEARLY_ALL = 0.98


@dataclass(frozen=True)
class Container:
    """What the container of a video says.

    Attributes:
        is_cut: the file is shorter than its container says, or ends within a packet.
        count: where its number of frames comes from: a table; its duration, so that it may be a little off; or
            "nothing", since an edit list leaves out part of the table.
        problem: why nothing can be decoded; empty if that is not known from outside.
    """

    is_cut: bool = False
    count: Literal["table", "duration", "nothing"] = "duration"
    problem: str = ""


def video_kind(head: bytes) -> Kind | None:
    """The kind of the video that starts with `head`; None if it is no video.

    Playlists, which could name other files and hosts, are no videos here, nor are still images in video containers.

    >>> video_kind(b"RIFF....AVI LIST"), video_kind(b"....ftypheic"), video_kind(b"#EXTM3U")
    ('avi', None, None)
    """
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith(_MATROSKA):
        return "matroska"
    if head[4:8] in _QUICKTIME_BOXES:
        return None if head[4:12].startswith(b"ftyp") and head[8:12] in _STILL_BRANDS else "mp4"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == _TS_SYNC:
        return "ts"
    if len(head) > 4 + _M2TS_PACKET and head[4] == head[4 + _M2TS_PACKET] == _TS_SYNC:
        return "ts"
    return "other" if head.startswith(_OTHERS) else None


def read_container(path: Path) -> Container:
    """What the container of the video file `path` says; whatever makes no sense counts as whole.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        kind, size = video_kind(head), path.stat().st_size
        if kind == "mp4":
            return _read_mp4(file, size)
        if kind == "avi":
            (length,) = struct.unpack_from("<I", head, 4)
            return Container(is_cut=length + 8 > size, count="table")
        if kind == "ts":
            return Container(is_cut=_ends_within_packet(file, size, head))
        return Container(is_cut=kind == "matroska" and _matroska_end(head) > size)


def _read_mp4(file: BinaryIO, size: int) -> Container:
    end, index, has_index, is_cut = 0, b"", False, False
    for name, start, end in _boxes(file, size):
        is_cut = end > size and name in _BOXES_WITH_FRAMES
        has_index |= name == b"moov"
        if name == b"moov" and end - start <= _MAX_INDEX_BYTES:
            file.seek(start)
            index = file.read(end - start)
    if not has_index and end + _LEAST_BOX > size:
        problem = "its index (the box `moov`) is missing: it is cut off, or was not finished"
        return Container(is_cut=True, problem=problem)
    return Container(is_cut=is_cut, count="nothing" if _is_trimmed(index) else "table")


def _ends_within_packet(file: BinaryIO, size: int, head: bytes) -> bool:
    """Whether what follows the last whole packet is the beginning of one, and not something else."""
    before, packet = (0, _TS_PACKET) if head[0] == _TS_SYNC else (_M2TS_PACKET - _TS_PACKET, _M2TS_PACKET)
    file.seek(size - size % packet)
    rest = file.read(packet)
    return bool(rest) and (len(rest) <= before or rest[before] == _TS_SYNC)


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each box of the file."""
    position = 0
    for _ in range(_MAX_BOXES):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            return
        length, name = struct.unpack_from(">I4s", header)
        start = position + 8
        if length == 1 and len(header) == 16:
            (length,) = struct.unpack_from(">Q", header, 8)
            start += 8
        end = size if length == 0 else position + length
        if end < start:
            return
        yield name, start, end
        position = end


def _is_trimmed(index: bytes) -> bool:
    """Whether an edit list leaves part of the frames out, as phones do when they shorten a video."""
    scale = _times(index, index.find(b"mvhd"))[0]
    lists, media = index.find(b"elst"), index.find(b"mdhd")
    media_scale, media_duration = _times(index, media)
    if lists < 0 or not (scale and media_scale and media_duration):
        return False
    is_long = index[lists + 4 : lists + 5] == b"\1"
    entry = struct.Struct(">QqI" if is_long else ">IiI")
    try:
        (count,) = struct.unpack_from(">I", index, lists + 8)
        edits = [entry.unpack_from(index, lists + 12 + number * entry.size) for number in range(min(count, 100))]
    except struct.error:
        return False
    shown = sum(duration for duration, start, _ in edits if start >= 0) / scale
    return bool(0 < shown < _NEARLY_ALL * media_duration / media_scale)


def _times(index: bytes, offset: int) -> tuple[int, int]:
    """Units a second, and duration, in the box `mvhd` or `mdhd` at `offset`; zeros if it is not there."""
    if offset < 0:
        return 0, 0
    is_long = index[offset + 4 : offset + 5] == b"\1"
    try:
        scale, duration = struct.unpack_from(">16xIQ" if is_long else ">8xII", index, offset + 8)
    except struct.error:
        return 0, 0
    return scale, duration


def _matroska_end(head: bytes) -> int:
    """Where the segment of a Matroska file ends; 0 if it does not say."""
    offset = head.find(_SEGMENT)
    if offset < 0 or len(head) < offset + 12 or not head[offset + 4]:
        return 0
    first = head[offset + 4]
    width = 9 - first.bit_length()
    length = int.from_bytes(head[offset + 4 : offset + 4 + width], "big") & ((1 << 7 * width) - 1)
    return 0 if length == (1 << 7 * width) - 1 else offset + 4 + width + length
