"""What to look at: from what the user typed to frames. Pictures and videos on this machine; no network, no cameras."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from onelook.data.media import VIDEO_SUFFIXES, VideoInfo, video_frames, video_info
from onelook.errors import DataError, combined
from onelook.files.bounded import printable, read_bounded
from onelook.files.images import KIND_OF_SUFFIX, read_image

T = TypeVar("T")

IMAGE_SUFFIXES = frozenset(KIND_OF_SUFFIX)
MAX_LIST_BYTES = 1 << 26


@dataclass(frozen=True)
class Frame:
    """One picture to look at.

    Attributes:
        path: the picture or video file.
        image: (H, W, 3) uint8 RGB.
        number: position in the video, from 0; 0 for a picture.
        video: what the video says about itself; None for a picture.
    """

    path: Path
    image: npt.NDArray[np.uint8]
    number: int = 0
    video: VideoInfo | None = None


def find_media(source: str | Path) -> list[Path]:
    """The picture and video files that `source` names: pictures first, then videos, each by name.

    Args:
        source: a picture, a video, a folder (looked at without its sub-folders), a pattern such as `shots/**/*.jpg`, or
            a `.txt` file with one path per line, relative to that file or to the current folder; their order is kept.

    Raises:
        DataError: nothing is there, or it is of a kind that we do not read; web addresses and cameras are not.
    """
    text = str(source)
    _refuse_streams(text)
    path = Path(source)
    if path.is_dir():
        found = [file for file in sorted(path.iterdir()) if not file.name.startswith(".")]
        return _media_of(found, f"folder `{printable(path)}`")
    if path.exists():
        if path.suffix.lower() == ".txt":
            return _listed(path)
        return _media_of([path], f"source `{printable(path)}`")
    if glob.has_magic(text):
        matching = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
        return _media_of([Path(name) for name in matching], f"pattern `{printable(path)}`")
    raise DataError(f"source `{printable(path)}` does not exist", hint="relative paths start at the current folder")


def is_video(path: Path) -> bool:
    """Whether the name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_frames(
    paths: Iterable[Path], *, vid_stride: int = 1, on_problem: Callable[[DataError], None] | None = None
) -> Iterator[Frame]:
    """The frames of all files, in order.

    Args:
        paths: see `find_media`.
        vid_stride: only every n-th frame of a video.
        on_problem: told about a file that cannot be used, which is then passed over; without it the error is raised.

    Raises:
        DataError: a file cannot be used and `on_problem` is None.
    """
    for path in paths:
        try:
            if is_video(path):
                info = video_info(path)
                for number, image in video_frames(path, stride=vid_stride):
                    yield Frame(path, image, number, info)
            else:
                yield Frame(path, read_image(path))
        except DataError as problem:
            if on_problem is None:
                raise
            on_problem(problem)


def batches_of(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter.

    >>> list(batches_of("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each made by a second thread while the one before is in use."""
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="onelook-read") as pool:
        coming = pool.submit(lambda: next(iterator, None))
        while (item := coming.result()) is not None:
            coming = pool.submit(lambda: next(iterator, None))
            yield item


def _refuse_streams(text: str) -> None:
    kind = None
    if "://" in text or text.lower().startswith("www."):
        kind = "a web address"
    elif text.isdigit():
        kind = "a camera"
    elif text.split(" ")[0] == "screen":
        kind = "the screen"
    elif text.lower().endswith(".streams"):
        kind = "a list of streams"
    if kind is not None and not Path(text).exists():
        raise DataError(
            f"source `{text}` is {kind}, which this version does not read",
            hint="give pictures or videos on this machine: a file, a folder, a pattern or a .txt list",
        )


def _media_of(paths: list[Path], place: str) -> list[Path]:
    files = [path for path in paths if path.is_file()]
    pictures = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    videos = [path for path in files if is_video(path)]
    if not pictures and not videos:
        others = sorted({path.suffix.lower() or "(no suffix)" for path in files})
        seen = f"{len(files)} files of other kinds ({', '.join(others[:8])})" if files else "no files"
        known = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        raise DataError(f"no picture or video in {place}: {seen}", hint=f"known are {known}")
    return pictures + videos


def _listed(list_path: Path) -> list[Path]:
    try:
        text = read_bounded(list_path, MAX_LIST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise DataError(f"list `{printable(list_path)}` is not UTF-8 text", hint="save it as UTF-8") from problem
    found, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry:
            continue
        choices = [path for path in (list_path.parent / entry, Path(entry)) if "\0" not in entry and path.is_file()]
        if not choices:
            problems.append(f"line {number}: `{printable(entry)}` does not exist")
        else:
            found.append(choices[0])
    if problems:
        raise combined(DataError, f"list `{printable(list_path)}` names files that are missing:", problems)
    return _media_of(found, f"list `{printable(list_path)}`")
