"""Images and videos on this machine: from the name of a file, folder, pattern or list to frames."""

from __future__ import annotations

import glob
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from pathlib import Path

from onelook.data.capacity import available_processors
from onelook.data.media import VIDEO_SUFFIXES, is_still, media_kind, video_frames, video_info
from onelook.errors import DataError, combined, counted
from onelook.files.bounded import printable, read_bounded, refuse_impossible
from onelook.files.image_bands import BandedImage, banded_image
from onelook.files.image_headers import MAX_PIXELS
from onelook.files.images import KIND_OF_SUFFIX, Image, read_image
from onelook.inference.sources.addresses import kind_of
from onelook.inference.sources.frame import Frame
from onelook.inference.sources.prefetch import ahead_in_threads

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(KIND_OF_SUFFIX)
GIF = b"GIF8"
MAX_LIST_BYTES = 1 << 26
MAX_THREADS = 4
"""Threads that decode images, and images that may be decoded before their turn: each may have 300 MB."""


def find_media(source: str | Path) -> list[Path]:
    """The image and video files that `source` names: images first, then videos, each by name; known by their content.

    What else lies in a folder is counted in a warning. A list is taken at its word: its order is kept, and what is no
    image or video fails when its turn comes.

    Args:
        source: an image, a video, a folder (without its sub-folders), a pattern such as `shots/**/*.jpg`, or
            a `.txt` file with one path per line, relative to that file or to the current folder.

    Raises:
        DataError: nothing is there, or it is of a kind that we do not read.
        SettingsError: it is no path.
    """
    refuse_impossible("source", source)
    path = Path(source)
    if path.is_dir():
        found = [file for file in sorted(path.iterdir()) if not file.name.startswith(".")]
        deeper = f'folders in it are not searched; a pattern does that: "{printable(glob.escape(str(path)))}/**/*"'
        return _media_of(found, f"folder `{printable(path)}`", deeper=deeper)
    if path.exists():
        if path.suffix.lower() == ".txt":
            return _listed(path)
        return _media_of([path], f"source `{printable(path)}`")
    if glob.has_magic(str(source)):
        matching = sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
        return _media_of([Path(name) for name in matching], f"pattern `{printable(path)}`")
    kind = kind_of(str(source))
    if kind != "path":
        raise DataError(
            f"source `{printable(str(source))}` is a {kind}, not a file of this machine",
            hint="use `onelook detect --source`, or `onelook.detect` in Python",
        )
    raise DataError(f"source `{printable(path)}` does not exist", hint="relative paths start at the current folder")


def is_video(path: Path) -> bool:
    """Whether a file is a video, see `media_kind`; a GIF with a single frame is not, nor what cannot be read."""
    return _kind_of(path) == "video" and not _is_still_gif(path)


def _is_still_gif(path: Path) -> bool:
    try:
        return read_bounded(path, len(GIF), prefix=True) == GIF and is_still(path)
    except DataError:
        return False


def read_frames(
    paths: Iterable[Path],
    *,
    vid_stride: int = 1,
    addresses: Mapping[Path, str] | None = None,
    max_pixels: int = MAX_PIXELS,
    in_bands: bool = False,
    on_problem: Callable[[DataError], None] | None = None,
) -> Generator[Frame, None, None]:
    """The frames of all files, in order; threads decode the images that come next.

    Args:
        vid_stride: only every n-th frame of a video.
        addresses: where files come from that were downloaded.
        max_pixels: images with more cannot be used.
        in_bands: give images that can be decoded in bands as `BandedImage`.
        on_problem: called for a file that cannot be used, which is then skipped; without it the error is raised.

    Raises:
        DataError: a file cannot be used and `on_problem` is None.
    """
    threads = min(MAX_THREADS, available_processors())
    decode = partial(_image_of, max_pixels=max_pixels, in_bands=in_bands)
    for path, coming in ahead_in_threads(decode, paths, threads=threads, ahead=MAX_THREADS):
        address = (addresses or {}).get(path, "")
        try:
            image = coming.result()
            if image is not None:
                yield Frame(path, image, address=address)
                continue
            info = video_info(path)
            for number, pixels in video_frames(path, stride=vid_stride):
                yield Frame(path, pixels, number, info, address=address)
        except DataError as problem:
            if on_problem is None:
                raise
            on_problem(problem)


def _image_of(path: Path, max_pixels: int, *, in_bands: bool) -> Image | BandedImage | None:
    """The pixels of an image file; None for a video, whose frames are read one by one."""
    if media_kind(path) != "video":
        large = banded_image(path, max_pixels) if in_bands else None
        return large or read_image(path, max_pixels=max_pixels)
    return next(pixels for _, pixels in video_frames(path)) if _is_still_gif(path) else None


def _media_of(paths: list[Path], origin: str, *, deeper: str = "") -> list[Path]:
    """Those of `paths` that are media; `deeper` is what to do if there are folders, but none of these."""
    files = [path for path in paths if path.is_file()]
    kinds = {path: _kind_of(path) for path in files}
    media = [path for kind in ("image", "video") for path in files if kinds[path] == kind]
    counts = Counter(path.suffix.lower() or "no suffix" for path in files if kinds[path] is None)
    if irregular := sum(not path.is_file() and not path.is_dir() for path in paths):
        counts["no regular file"] = irregular
    others = ", ".join(f"{suffix} {count}" for suffix, count in counts.most_common(8))
    if not media:
        seen = f"{counted(counts.total(), 'file')} of other kinds ({others})" if counts else "no files"
        known = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        has_folders = any(path.is_dir() for path in paths)
        hint = deeper if deeper and has_folders else f"known are {known}"
        raise DataError(f"no image or video in {origin}: {seen}", hint=hint)
    if counts:
        logger.warning(
            "%s: %d of %d files skipped, not images or videos: %s",
            origin,
            counts.total(),
            len(files) + irregular,
            others,
        )
    return media


def _kind_of(path: Path) -> str | None:
    """See `media_kind`; what cannot be read is taken for an image, so that it is named when its turn comes."""
    try:
        return media_kind(path)
    except DataError:
        return "image"


def list_entries(list_path: Path, max_bytes: int) -> list[tuple[int, str]]:
    """Number and text of each line of a list that is not empty.

    Raises:
        DataError: it is too long, or no UTF-8.
    """
    try:
        text = read_bounded(list_path, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise DataError(f"list `{printable(list_path)}` is not UTF-8 text", hint="save it as UTF-8") from problem
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _listed(list_path: Path) -> list[Path]:
    found, problems, num_turned = [], [], 0
    for number, entry in list_entries(list_path, MAX_LIST_BYTES):
        turned = entry.replace("\\", "/")
        candidates = [base / name for name in (entry, turned) for base in (list_path.parent, Path())]
        choices = [path for path in candidates if "\0" not in entry and path.is_file()]
        if not choices:
            problems.append(f"line {number}: `{printable(entry)}` does not exist")
        else:
            found.append(choices[0])
            num_turned += choices[0] not in candidates[:2]
    if problems:
        raise combined(DataError, f"list `{printable(list_path)}` names files that are missing:", problems)
    if num_turned:
        logger.warning("list `%s`: `\\` is read as `/` in %s", printable(list_path), counted(num_turned, "line"))
    if not found:
        raise DataError(f"list `{printable(list_path)}` names no file", hint="one path a line")
    return found
