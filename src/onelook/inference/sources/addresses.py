"""What kind of source a text names: a path, a file in the web, a list of streams, a stream, a camera or the screen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from onelook.data.media import VIDEO_SUFFIXES
from onelook.errors import DataError
from onelook.files.bounded import printable
from onelook.files.images import KIND_OF_SUFFIX
from onelook.files.web import shown_address

Kind = Literal["path", "web file", "stream", "camera", "screen", "list of streams"]

WEB_SCHEMES = ("http", "https")
STREAM_SCHEMES = (*WEB_SCHEMES, "rtsp", "rtmp", "rtmps", "tcp", "udp", "rtp")
FILE_SUFFIXES = VIDEO_SUFFIXES | set(KIND_OF_SUFFIX)
SITES_OF_PAGES = ("youtube.com", "youtu.be", "vimeo.com", "twitch.tv")
MAX_CAMERA = 255
MAX_STEM = 80


@dataclass(frozen=True)
class ScreenArea:
    """Which part of the screen to capture.

    Attributes:
        number: monitor, from 1; 0 is all of them together.
        area: left, top, width, height in pixels of that monitor; None for all of it.
    """

    number: int = 0
    area: tuple[int, int, int, int] | None = None


def kind_of(text: str) -> Kind:
    """What kind of source `text` is; whatever exists as a file or folder is a path.

    >>> [kind_of(text) for text in ("0", "screen 1", "rtsp://10.0.0.7/a", "https://example.org/a.jpg", "hive.jpg")]
    ['camera', 'screen', 'stream', 'web file', 'path']
    """
    if "\0" not in text and text.lower().endswith(".streams"):
        return "list of streams"
    if "\0" in text or _exists(text):
        return "path"
    return "web file" if _is_web_file(text) else live_kind_of(text) or "path"


def live_kind_of(text: str) -> Literal["camera", "screen", "stream"] | None:
    """What kind of live source `text` is, by its words alone; None if it is none."""
    if text.isascii() and text.isdigit():
        return "camera"
    if text.split(" ")[0] == "screen":
        return "screen"
    return "stream" if "://" in text else None


def camera_number(text: str) -> int:
    """The number of a camera.

    Raises:
        DataError: above 255.
    """
    number = int(text)
    if number > MAX_CAMERA:
        raise DataError(f"source `{text}` is a camera number that is too high", hint=f"0 to {MAX_CAMERA}")
    return number


def screen_area(text: str) -> ScreenArea:
    """What `screen`, `screen 1` or `screen 1 100 50 640 480` asks for: monitor, left, top, width, height.

    Raises:
        DataError: it is written otherwise.
    """
    numbers = text.split()[1:]
    if len(numbers) not in (0, 1, 4, 5) or not all(re.fullmatch(r"-?[0-9]{1,6}", number) for number in numbers):
        raise DataError(
            f"source `{printable(text)}` does not describe a part of the screen",
            hint="write `screen`, `screen 1` for a monitor, or `screen 1 100 50 640 480` for left, top, width, height",
        )
    values = [int(number) for number in numbers]
    number = values.pop(0) if len(values) in (1, 5) else 0
    if number < 0 or (values and min(values[2:]) < 1):
        raise DataError(f"source `{printable(text)}`: the monitor counts from 0, width and height from 1")
    return ScreenArea(number, (values[0], values[1], values[2], values[3]) if values else None)


def check_address(text: str) -> None:
    """Refuse what is no address of an image, video or stream.

    Raises:
        DataError: naming the reason.
    """
    name = shown_address(text)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:  # whose text may hold the password
        raise DataError(f"source `{name}` is not a web address: its host or port is malformed") from problem
    if parts.scheme.lower() not in STREAM_SCHEMES:
        raise DataError(
            f"source `{name}` begins with `{printable(parts.scheme)}://`, which is not read",
            hint=f"known are {', '.join(STREAM_SCHEMES)}; files of this machine are given by their path",
        )
    if not host or not text.isprintable() or " " in text:
        raise DataError(
            f"source `{name}` is not a web address: it names no host, or has blanks", hint="write them as %20"
        )
    if any(host == site or host.endswith(f".{site}") for site in SITES_OF_PAGES):
        raise DataError(
            f"source `{name}` is a page with a player, not a video",
            hint="save the video with a program that the site allows, and give the file",
        )


def shown_source(text: str) -> str:
    """A typed source for people: without passwords, if it is an address."""
    return shown_address(text) if "://" in text else printable(text)


def stem_of(name: str) -> str:
    """What files of a source may be called: letters, digits, `-` and `_`.

    >>> stem_of("rtsp://10.0.0.7:554/hive")
    'rtsp_10_0_0_7_554_hive'
    """
    return re.sub(r"[^0-9A-Za-z_-]+", "_", name).strip("_")[:MAX_STEM] or "source"


def file_name_of(address: str) -> str:
    """What the file at an address may be called on this machine.

    >>> file_name_of("https://example.org/bees/hive%201.JPG?size=3")
    'hive_1.jpg'
    """
    path = PurePosixPath(unquote(urlsplit(address).path))
    return f"{stem_of(path.stem)}{path.suffix.lower()}"


def _exists(text: str) -> bool:
    """Whether there is a file or folder of that name; an address may be longer than any name can be."""
    try:
        return Path(text).exists()
    except OSError:
        return False


def _is_web_file(address: str) -> bool:
    """Whether it names a file in the web, by its suffix; what has none that we know is a stream."""
    scheme, _, rest = address.partition("://")
    path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")[2]
    return scheme.lower() in WEB_SCHEMES and PurePosixPath(unquote(path)).suffix.lower() in FILE_SUFFIXES
