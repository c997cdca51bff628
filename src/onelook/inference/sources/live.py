"""Cameras, streams and screens: a thread for each keeps its newest frame, and connects again when it breaks off."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from onelook.data.media import VideoInfo
from onelook.errors import DataError
from onelook.inference.sources.frame import Frame

logger = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
POLL_SECONDS = 0.1
"""How often to ask whether to stop while no frame comes."""
GOODBYE_SECONDS = 2.0
"""How long to wait for threads that hang in dead connections; they do not keep the program from ending."""


class LiveInput(Protocol):
    """An open camera, stream or screen; a context manager."""

    fps: float

    def grab(self) -> bool:
        """Wait for the next frame; False if none comes any more."""

    def image(self) -> npt.NDArray[np.uint8] | None:
        """The frame grabbed last, (H, W, 3) uint8 RGB; None if it cannot be decoded."""

    def __enter__(self) -> LiveInput: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class LiveSource:
    """Something that sends frames without an end.

    Attributes:
        name: name for people, without passwords.
        stem: stem of file names, unique in the run.
        open: connects; raises a DataError if it cannot.
    """

    name: str
    stem: str
    open: Callable[[], LiveInput]


@dataclass(frozen=True)
class LivePolicy:
    """How live sources are read.

    Attributes:
        stride: only every n-th frame is used.
        attempts: how often in a row to try again when a source breaks off.
        first_wait: seconds before the first attempt; before each further one it doubles, up to 30.
    """

    stride: int = 1
    attempts: int = 10
    first_wait: float = FIRST_WAIT_SECONDS


@dataclass
class LiveCount:
    """What happened to a live source.

    Attributes:
        taken: frames that were processed.
        dropped: frames that were left out, because newer ones were there.
        reconnected: how often it broke off and came back.
        problem: why it ended; empty if it did not end by itself.
        hint: the cure, if there is one.
    """

    name: str
    taken: int = 0
    dropped: int = 0
    reconnected: int = 0
    problem: str = ""
    hint: str | None = None


class LiveFrames:
    """The newest frames of several live sources; a context manager, then an iterator.

    Gives lists of frames, one of each source that has a new one, for as long as any source lives. A source that never
    answers ends at once, one that broke off after the attempts of `policy`.

    Args:
        sources: read at the same time.
        stop_requested: checked ten times a second; True ends the frames.

    Attributes:
        counts: what happened to each source, in order.
    """

    def __init__(
        self, sources: Sequence[LiveSource], policy: LivePolicy, *, stop_requested: Callable[[], bool] = lambda: False
    ) -> None:
        self._news = threading.Condition()
        self._readers = [_StreamReader(source, policy, self._news) for source in sources]
        self._stop_requested = stop_requested
        self.counts = tuple(reader.count for reader in self._readers)

    def __enter__(self) -> LiveFrames:
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.stop()
        deadline = time.monotonic() + GOODBYE_SECONDS
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))

    def __iter__(self) -> Iterator[list[Frame]]:
        while not self._stop_requested():
            with self._news:
                self._news.wait_for(self._has_news, timeout=POLL_SECONDS)
                frames = [frame for reader in self._readers if (frame := reader.take()) is not None]
                is_over = not frames and all(reader.is_over for reader in self._readers)
            if frames:
                yield frames
            for reader in self._readers:
                reader.raise_failure()
            if is_over:
                return

    def _has_news(self) -> bool:
        return any(reader.has_news for reader in self._readers) or all(reader.is_over for reader in self._readers)


class _StreamReader(threading.Thread):
    """Reads one source; what it shares with others is guarded by `news`."""

    def __init__(self, source: LiveSource, policy: LivePolicy, news: threading.Condition) -> None:
        super().__init__(name=f"onelook-live-{source.stem}", daemon=True)
        self.count = LiveCount(source.name)
        self.is_over = False
        self._source = source
        self._policy = policy
        self._news = news
        self._newest: Frame | None = None
        self._failure: Exception | None = None
        self._number = 0
        self._stopping = threading.Event()

    @property
    def has_news(self) -> bool:
        """Whether there is a frame that nobody has taken."""
        return self._newest is not None

    def take(self) -> Frame | None:
        """The newest frame, once."""
        frame, self._newest = self._newest, None
        self.count.taken += frame is not None
        return frame

    def stop(self) -> None:
        """Let the thread end after the frame under way."""
        self._stopping.set()

    def raise_failure(self) -> None:
        """Raise what went wrong in the thread and was not foreseen."""
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        """Read until told to stop, or until there is nothing left to read."""
        try:
            self._read_on()
        except Exception as problem:  # noqa: BLE001 - raised again by whoever asks for frames
            self._failure = problem
        with self._news:
            self.is_over = True
            self._news.notify_all()

    def _read_on(self) -> None:
        failed = 0
        while not self._stopping.is_set():
            reason = "it broke off"
            try:
                with self._source.open() as video:
                    was_there = self._number > 0
                    if self._read(video):
                        failed = 0
                        self.count.reconnected += was_there
            except DataError as problem:
                reason = problem.message
                if not self._number:
                    self.count.problem, self.count.hint = problem.message, problem.hint
                    return
            if self._stopping.is_set():
                return
            if failed >= self._policy.attempts or not self._number:
                self.count.problem = f"`{self._source.name}`: {reason if self._number else 'no frame of it came'}"
                return
            wait = min(self._policy.first_wait * 2**failed, LONGEST_WAIT_SECONDS)
            failed += 1
            logger.warning("`%s`: %s; trying again in %g s", self._source.name, reason, wait)
            self._stopping.wait(wait)

    def _read(self, video: LiveInput) -> bool:
        """Offer frames until the source breaks off, or one cannot be decoded; whether any came before that."""
        begun_with = self._number
        while not self._stopping.is_set() and video.grab():
            if self._number % self._policy.stride == 0:
                image = video.image()
                if image is None:
                    break
                self._offer(image, self._number, video.fps)
            self._number += 1
        return self._number > begun_with

    def _offer(self, image: npt.NDArray[np.uint8], number: int, fps: float) -> None:
        info = VideoInfo(fps=fps, num_frames=0, size_hw=(image.shape[0], image.shape[1]))
        with self._news:
            if self._newest is not None:
                self.count.dropped += 1
            self._newest = Frame(
                Path(self._source.stem),
                image,
                number,
                info,
                address=self._source.name,
                is_live=True,
                dropped=self.count.dropped,
            )
            self._news.notify_all()
