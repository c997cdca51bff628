"""Open sources: batches of frames for as long as there are any, and what is known of where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from onelook.errors import DataError, OnelookError, SettingsError, combined, counted
from onelook.inference.sources.addresses import shown_source
from onelook.inference.sources.download import download
from onelook.inference.sources.files import is_video, read_frames
from onelook.inference.sources.frame import Frame
from onelook.inference.sources.live import FIRST_WAIT_SECONDS, LiveCount, LiveFrames, LivePolicy
from onelook.inference.sources.parse_source import Sources, WebSource
from onelook.inference.sources.prefetch import batches_of, one_ahead
from onelook.processes.stop_signal import StopSignal
from onelook.settings.detect import DetectSettings
from onelook.structures.coco_classes import are_numbers


@dataclass(frozen=True)
class OpenSources:
    """Sources that are being read.

    Attributes:
        batches: frames that came at about the same time, at most `batch_size` of them.
        is_empty: whether nothing could be opened.
        file_numbers: numbers of the files, from 1; empty for live sources.
        live: what happens to the live sources, up to date at any time.
    """

    batches: Iterator[list[Frame]]
    is_empty: bool
    file_numbers: Mapping[Path, int] = field(default_factory=dict)
    live: tuple[LiveCount, ...] = ()

    @property
    def have_numbers(self) -> bool:
        """Whether all sources are images whose names are distinct numbers."""
        paths = list(self.file_numbers)
        return bool(paths) and are_numbers([path.stem for path in paths]) and not any(map(is_video, paths))

    @property
    def amount(self) -> str:
        """How many files or streams there are, in words."""
        return counted(len(self.live), "stream") if self.live else counted(len(self.file_numbers), "file")

    def problems(self, of_files: Sequence[DataError]) -> tuple[str, ...]:
        """What could not be used or broke off, each with its reason: files, then live sources."""
        return (*(problem.message for problem in of_files), *(count.problem for count in self.live if count.problem))

    def nothing(self, typed: Sequence[str], of_files: Sequence[DataError]) -> OnelookError:
        """What to raise if nothing could be opened, of the sources as they were typed."""
        hints = [problem.hint for problem in of_files] + [count.hint for count in self.live]
        title = f"no source of `{' '.join(map(shown_source, typed))}` can be used:"
        return combined(DataError, title, self.problems(of_files), hint=next(filter(None, hints), None))


def require_frames(settings: DetectSettings, sources: Sources) -> None:
    """Raise SettingsError if objects are to be followed where there is nothing but single images."""
    if settings.tracker == "none" or sources.live:
        return
    if not any(isinstance(file, WebSource) or is_video(file) for file in sources.files):
        typed = " ".join(map(shown_source, settings.source))
        raise SettingsError(
            f"setting `tracker` follows objects from frame to frame, and `{typed}` has no video",
            hint="give a video or a stream; in Python, `detector.track(images)` takes images in the order of time",
        )


@contextmanager
def opened(
    sources: Sources, settings: DetectSettings, stop: StopSignal, *, on_problem: Callable[[DataError], None]
) -> Iterator[OpenSources]:
    """Read files one batch ahead, or live sources as their frames come; files in the web are fetched first.

    The first batch is waited for, so that it is known whether there is any input.

    Args:
        on_problem: called for a file that cannot be used, which is then skipped.

    Raises:
        DataError: a file in the web cannot be fetched.
        StopRequested: while one was fetched.
    """
    if sources.live:
        policy = LivePolicy(settings.vid_stride, settings.reconnect, first_wait=FIRST_WAIT_SECONDS)
        with LiveFrames(sources.live, policy, stop_requested=stop) as frames:
            batches = (part for together in frames for part in batches_of(together, settings.batch_size))
            first = list(islice(batches, 1))
            yield OpenSources(chain(first, batches), not first, live=frames.counts)
        return
    with TemporaryDirectory(prefix="onelook-") as folder:
        paths, addresses = _at_hand(sources, Path(folder), stop)
        read = read_frames(
            paths,
            vid_stride=settings.vid_stride,
            addresses=addresses,
            max_pixels=settings.max_pixels,
            in_bands=settings.tile > 0,
            on_problem=on_problem,
        )
        numbers = {path: number for number, path in reversed(list(enumerate(paths, start=1)))}
        with closing(read), closing(one_ahead(batches_of(read, settings.batch_size))) as batches:
            first = list(islice(batches, 1))
            yield OpenSources(chain(first, batches), not first, numbers)


def _at_hand(sources: Sources, folder: Path, stop: StopSignal) -> tuple[list[Path], dict[Path, str]]:
    """The files, those from the web fetched into `folder`, and where these are from."""
    paths: list[Path] = []
    addresses: dict[Path, str] = {}
    for number, file in enumerate(sources.files):
        if isinstance(file, WebSource):
            subfolder = folder / str(number)
            subfolder.mkdir()
            path = download(file.address, subfolder, check=stop.check)
            addresses[path] = file.name
        else:
            path = file
        paths.append(path)
    return paths, addresses
