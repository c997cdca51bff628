"""JPEG: whether all of its scans are there, and its pixels, unless something is wrong with them.

Where data are missing or wrong, libjpeg fills in grey, prints a warning and continues. Here each warning is an error,
or a remark if no pixel can have suffered.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import simplejpeg

from onelook.files.fault_kinds import Remark
from onelook.files.image_headers import JPEG_END, DamagedImage, JpegFrame

Image = npt.NDArray[np.uint8]

# Encoders write about ten. Each scan costs a pass over the whole image and may be a dozen bytes long.
MAX_SCANS = 100

# A marker within the coded data: not a stuffed zero, not a restart, not filling. A pattern that begins with one plain
# byte is looked for at the speed of memory; `\xff+`, which finds the same, takes twenty times as long.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_SCAN, _END = 0xDA, 0xD9
_SEQUENTIAL, _PROGRESSIVE = frozenset({0xC0, 0xC1, 0xC9}), frozenset({0xC2, 0xCA})
_NOT_SENT, _NUM_COEFFICIENTS = 255, 64
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_ODD_SAMPLING = "subsampling"  # simplejpeg reads the usual ones only
_FILLING = bytes(range(1, 255)) * 4  # coded data, without a marker


def decode_jpeg(data: bytes, frame: JpegFrame, stored_hw: tuple[int, int], scale: int) -> tuple[Image, list[Remark]]:
    """(H, W, 3) uint8 RGB as stored, 1 / `scale` of the size, rounded up; and what is odd and did no harm.

    Raises:
        DamagedImage: a part of the image is missing or wrong, or it is of an unusual kind.
    """
    remarks = []
    end = _end_of(data, frame)
    if end is None:
        data = data.rstrip(b"\xff") + JPEG_END
        remarks.append(Remark("the end marker of the JPEG is missing; its pixels are complete"))
    if scale == 1:
        height, width = 0, 0
    else:
        height, width = (-(-side // scale) for side in stored_hw)
    colours = _colours(frame)
    try:
        pixels = simplejpeg.decode_jpeg(data, colours, min_height=height, min_width=width)
    except ValueError as problem:
        if _ODD_SAMPLING in str(problem):
            return _decoded_by_pillow(data, end, stored_hw, scale), remarks
        remarks.append(_padding(str(problem), data, end)[0])
        pixels = simplejpeg.decode_jpeg(data, colours, min_height=height, min_width=width, strict=False)
    return _without_black(pixels) if colours == "CMYK" else pixels, remarks


def mended_jpeg(data: bytes, frame: JpegFrame) -> bytes:
    """A JPEG that can be used, with the end marker that it has to have, and without padding before that.

    Raises:
        DamagedImage: it cannot be used.
    """
    end = _end_of(data, frame)
    if end is None:
        return data.rstrip(b"\xff") + JPEG_END
    try:
        simplejpeg.decode_jpeg(data, _colours(frame), min_height=1, min_width=1)
    except ValueError as problem:
        if _ODD_SAMPLING not in str(problem):
            _, num_bytes = _padding(str(problem), data, end)
            return data[: end - num_bytes] + data[end:]
    return data


def _end_of(data: bytes, frame: JpegFrame) -> int | None:
    """Where the end marker stands, if there is one; DamagedImage if what comes before it is not the whole image.

    A progressive JPEG that is cut between two scans is a valid one, which merely looks coarse.
    """
    sent = {component: bytearray([_NOT_SENT] * _NUM_COEFFICIENTS) for component in frame.components}
    position, marker, num_scans, end = frame.scans_at, _SCAN, 0, None
    try:
        while end is None:
            if marker == _SCAN:
                _note_scan(data, position, sent)
                num_scans += 1
            if num_scans > MAX_SCANS:
                raise DamagedImage(f"the JPEG has more than {MAX_SCANS} scans: it may be forged", kind="bomb")
            (length,) = struct.unpack_from(">H", data, position)
            found = _MARKER.search(data, position + length)
            if found is None:
                break
            marker, position = found[1][0], found.end()
            end = position - len(JPEG_END) if marker == _END else None
    except struct.error:  # it ends within a header
        pass
    _require_all(frame, sent)
    return end


def _note_scan(data: bytes, position: int, sent: Mapping[int, bytearray]) -> None:
    """Note which coefficients of which components the scan whose header stands here sends, and to which bit."""
    (count,) = struct.unpack_from(">B", data, position + 2)
    first, last, precision = struct.unpack_from(">BBB", data, position + 3 + 2 * count)
    for number in range(count):
        of_component = sent.get(data[position + 3 + 2 * number])
        if of_component is not None and last < _NUM_COEFFICIENTS and first <= last:
            of_component[first : last + 1] = bytes([precision & 0x0F]) * (last + 1 - first)


def _require_all(frame: JpegFrame, sent: Mapping[int, bytearray]) -> None:
    if frame.process in _SEQUENTIAL:
        missing = sum(of_component[0] == _NOT_SENT for of_component in sent.values())
        if missing:
            raise DamagedImage(f"the JPEG is truncated: {missing} of its {len(sent)} colour components are missing")
    elif frame.process in _PROGRESSIVE:
        coarse = sum(level != 0 for of_component in sent.values() for level in of_component)
        if coarse:
            raise DamagedImage(
                f"the JPEG is truncated: {coarse} of {len(sent) * _NUM_COEFFICIENTS} coefficients are missing or coarse"
            )


def _colours(frame: JpegFrame) -> str:
    return "CMYK" if len(frame.components) == 4 else "RGB"


def _padding(warning: str, data: bytes, end: int | None) -> tuple[Remark, int]:
    """A remark on what the decoder warns of, if that is padding at the end, and its length; else DamagedImage.

    Some cameras pad the coded data. Left-over bytes that are no padding belong to pixels that the decoder, having lost
    its place, did not paint.
    """
    found = _LEFT_OVER.search(warning)
    if found is not None:
        num_bytes = int(found[1])
        if end is not None and not data[end - num_bytes : end].strip(b"\0\xff"):
            return Remark(f"{num_bytes} bytes of padding stand before the end marker of the JPEG"), num_bytes
    if "premature end" in warning:
        raise DamagedImage("the JPEG is truncated: a part of the image is missing")
    raise DamagedImage(f"the JPEG is damaged: {warning}")


def _without_black(cmyk: Image) -> Image:
    """RGB from inverted CMYK, as Adobe's programs store it."""
    black = cmyk[..., 3:].astype(np.int32)
    return (black - ((255 - cmyk[..., :3].astype(np.int32)) * black >> 8)).astype(np.uint8)


def _decoded_by_pillow(data: bytes, end: int | None, stored_hw: tuple[int, int], scale: int) -> Image:
    """As `decode_jpeg`, of a JPEG with unusual sampling; it warns of nothing.

    So it is decoded twice, with bytes put in before the end: if a pixel changes, it was still waiting for data.
    """
    cut = len(data) - len(JPEG_END) if end is None else end
    pixels, other = (_by_pillow(one, stored_hw, scale) for one in (data, data[:cut] + _FILLING + JPEG_END))
    if not np.array_equal(pixels, other):
        raise DamagedImage("the JPEG is truncated: the lower part of the image is missing")
    return pixels


def _by_pillow(data: bytes, stored_hw: tuple[int, int], scale: int) -> Image:
    from PIL import Image as Pillow

    height, width = stored_hw
    try:
        with Pillow.open(io.BytesIO(data), formats=("JPEG",)) as file:
            if scale > 1:
                file.draft(None, (max(width // scale, 1), max(height // scale, 1)))
            pixels = np.array(file if file.mode == "CMYK" else file.convert("RGB"))
            was_turned = "adobe" in file.info  # Pillow turns the CMYK of such files
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as problem:
        raise DamagedImage(f"the JPEG is damaged: {problem}") from problem
    if pixels.shape[2] == 3:
        return pixels
    return _without_black(255 - pixels if was_turned else pixels)
