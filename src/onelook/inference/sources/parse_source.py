"""From what the user typed to what can be read: files, web files, and live sources; nothing is opened here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onelook.data.live_video import open_camera, open_stream
from onelook.errors import DataError, combined
from onelook.files.bounded import printable
from onelook.files.web import shown_address
from onelook.inference.sources.addresses import (
    camera_number,
    check_address,
    kind_of,
    live_kind_of,
    screen_area,
    stem_of,
)
from onelook.inference.sources.files import find_media, list_entries
from onelook.inference.sources.live import LiveSource
from onelook.inference.sources.screen import ScreenInput, screen_package

MAX_STREAMS_BYTES = 1 << 20


@dataclass(frozen=True)
class WebSource:
    """An image or video at a web address that the user typed."""

    address: str

    @property
    def name(self) -> str:
        """The address without passwords."""
        return shown_address(self.address)


@dataclass(frozen=True)
class Sources:
    """The sources, in the order typed; either files or live ones, which are read at the same time."""

    files: tuple[Path | WebSource, ...] = ()
    live: tuple[LiveSource, ...] = ()

    def __len__(self) -> int:
        return len(self.files) + len(self.live)


def find_sources(typed: Sequence[str]) -> Sources:
    """What the words name that were typed as sources.

    Args:
        typed: images, videos, folders, patterns, `.txt` lists; addresses of files in the web; numbers of cameras,
            addresses of streams, `screen` with its area, `.streams` lists of such.

    Raises:
        DataError: one of them cannot be understood, is not there, or files and live sources are mixed.
        SettingsError: the screen is asked for and the package for it is missing.
    """
    files: list[Path | WebSource] = []
    live: list[LiveSource] = []
    for text in typed:
        kind = kind_of(text)
        if kind == "path":
            files += find_media(text)
        elif kind == "web file":
            check_address(text)
            files.append(WebSource(text))
        elif kind == "list of streams":
            live += _listed(Path(text), taken=live)
        else:
            live.append(_live_source(text, taken=live))
    if files and live:
        raise DataError(
            f"`{live[0].name}` has no end, so it cannot be used together with files", hint="run the command twice"
        )
    return Sources(tuple(files), tuple(live))


def _live_source(text: str, *, taken: Sequence[LiveSource]) -> LiveSource:
    kind = live_kind_of(text)
    if kind == "camera":
        number = camera_number(text)
        name = f"camera {number}"
        return LiveSource(name, _free_stem(name, taken), partial(open_camera, number))
    if kind == "screen":
        area = screen_area(text)
        screen_package()
        name = " ".join(text.split())
        return LiveSource(name, _free_stem(name, taken), partial(ScreenInput, area))
    if kind is None:
        raise DataError(
            f"`{printable(text)}` is not a camera, stream or screen",
            hint="a number, an address such as `rtsp://10.0.0.7/hive`, or `screen`",
        )
    check_address(text)
    name = shown_address(text)
    return LiveSource(name, _free_stem(name, taken), partial(open_stream, text, name=name))


def _listed(path: Path, *, taken: Sequence[LiveSource]) -> list[LiveSource]:
    found: list[LiveSource] = []
    problems = []
    for number, entry in list_entries(path, MAX_STREAMS_BYTES):
        if entry.startswith("#"):
            continue
        try:
            found.append(_live_source(entry, taken=[*taken, *found]))
        except DataError as problem:
            problems.append(f"line {number}: {problem.message}")
    if problems:
        raise combined(DataError, f"list `{printable(path)}` cannot be used:", problems)
    if not found:
        raise DataError(f"list `{printable(path)}` names no stream", hint="one address or camera number a line")
    return found


def _free_stem(name: str, taken: Sequence[LiveSource]) -> str:
    stems = {source.stem for source in taken}
    stem, number = stem_of(name), 1
    while (free := stem if number == 1 else f"{stem}_{number}") in stems:
        number += 1
    return free
