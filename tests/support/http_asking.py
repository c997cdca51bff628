"""Requests to a service, what it should answer, and forged images."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from onelook.files.images import read_image
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.structures.detections import Detections
from onelook.training.weights import load_detector


@dataclass(frozen=True)
class Reply:
    """Status, headers with names in small letters, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
    """What a service answers; `content_type` becomes `Content-Type`, and so on."""
    place = urlsplit(url)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, given)
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def found_by_library(weights: Path, paths: list[Path], **settings: Any) -> list[Detections]:
    """What the library finds in images, one at a time."""
    predictor = Predictor(load_detector(weights), PredictionSettings(**settings))
    return [predictor.predict([read_image(path)])[0] for path in paths]


def form(*parts: tuple[str, bytes], boundary: str = "xYzZY") -> tuple[bytes, str]:
    """Body and content type of a form; each part is what stands in its header after `form-data`, and its content."""
    text = b"".join(
        b"--%s\r\nContent-Disposition: form-data%s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), content)
        for head, content in parts
    )
    return text + b"--%s--\r\n" % boundary.encode(), f"multipart/form-data; boundary={boundary}"


def png(width: int, height: int, *, rows: int, forged_length: int | None = None) -> bytes:
    """A grey PNG that says it has `height` rows and has `rows`; its data may claim another length."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width)
    data = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data, forged_length) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data) if length is None else length)
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
    )
