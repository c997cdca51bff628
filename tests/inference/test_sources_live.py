"""Live sources: the newest frame only, counted losses, and a new connection when one breaks off."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from web_server import send_images, serving

from onelook.data.live_video import open_camera, open_stream
from onelook.data.media import VideoWriter
from onelook.errors import DataError
from onelook.inference.sources.frame import Frame
from onelook.inference.sources.live import LiveFrames, LivePolicy, LiveSource

UNREADABLE = 999
QUICK = LivePolicy(first_wait=0.01, attempts=2)


class Script:
    """A source that plays connections, each a list of grey levels; it waits for `go` before each frame."""

    def __init__(self, *connections: list[int], go: threading.Semaphore | None = None) -> None:
        self.fps = 10.0
        self.opened = 0
        self._connections = list(connections)
        self._levels: Iterator[int] = iter(())
        self._level = 0
        self._go = go

    def open(self) -> Script:
        self.opened += 1
        if not self._connections:
            raise DataError("nobody there")
        self._levels = iter(self._connections.pop(0))
        return self

    def grab(self) -> bool:
        if self._go is not None:
            self._go.acquire()
        self._level = next(self._levels, -1)
        return self._level >= 0

    def image(self) -> np.ndarray | None:
        return None if self._level == UNREADABLE else np.full((32, 48, 3), self._level, np.uint8)

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self._levels = iter(())


def levels(frames: list[Frame]) -> list[int]:
    return [round(float(frame.image.mean())) for frame in frames]


def test_every_frame_comes_if_each_is_taken_in_time() -> None:
    go = threading.Semaphore(1)
    script = Script([10, 20, 30], go=go)
    seen = []
    with LiveFrames([LiveSource("hive", "hive", script.open)], LivePolicy(attempts=0)) as frames:
        for batch in frames:
            seen += batch
            go.release()
    assert levels(seen) == [10, 20, 30] and [frame.number for frame in seen] == [0, 1, 2]
    assert {(frame.shown, frame.path.name, frame.is_live) for frame in seen} == {("hive", "hive", True)}
    assert (frames.counts[0].taken, frames.counts[0].dropped) == (3, 0)
    assert "`hive`: it broke off" in frames.counts[0].problem


def test_only_the_newest_frame_is_kept_and_the_others_are_counted() -> None:
    script = Script(list(range(50)))
    with LiveFrames([LiveSource("hive", "hive", script.open)], LivePolicy(attempts=0)) as frames:
        for reader in frames._readers:
            reader.join()
        seen = [frame for batch in frames for frame in batch]
    assert levels(seen) == [49] and seen[0].dropped == 49
    assert (frames.counts[0].taken, frames.counts[0].dropped) == (1, 49)


def test_the_stride_leaves_frames_out_without_counting_them_as_lost() -> None:
    go = threading.Semaphore(0)
    script = Script(list(range(7)), go=go)
    with LiveFrames([LiveSource("hive", "hive", script.open)], LivePolicy(stride=3, attempts=0)) as frames:
        go.release(1)
        seen = []
        for batch in frames:
            seen += batch
            go.release(3)
    assert [frame.number for frame in seen] == [0, 3, 6] and frames.counts[0].dropped == 0


def test_a_source_that_breaks_off_comes_back_and_goes_on_counting(caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Semaphore(1)
    script = Script([1, 2], [3], [4], go=go)
    seen = []
    with (
        caplog.at_level(logging.WARNING),
        LiveFrames([LiveSource("hive", "hive", script.open)], QUICK) as frames,
    ):
        for batch in frames:
            seen += batch
            go.release(2)
    assert levels(seen) == [1, 2, 3, 4] and [frame.number for frame in seen] == [0, 1, 2, 3]
    assert frames.counts[0].reconnected == 2
    assert script.opened == 3 + QUICK.attempts, "an attempt that works counts from 0 again"
    assert frames.counts[0].problem == "`hive`: nobody there"
    waits = [record.getMessage().rpartition("again in ")[2] for record in caplog.records]
    assert waits == ["0.01 s"] * 3 + ["0.02 s"]


def test_a_source_that_never_answers_ends_at_once_and_the_others_go_on() -> None:
    go = threading.Semaphore(1)
    dead, alive = Script(), Script([7, 8], go=go)
    sources = [LiveSource("dead", "dead", dead.open), LiveSource("alive", "alive", alive.open)]
    seen = []
    with LiveFrames(sources, LivePolicy(attempts=0)) as frames:
        for batch in frames:
            seen += batch
            go.release(2)
    assert dead.opened == 1 and levels(seen) == [7, 8]
    assert [count.problem for count in frames.counts] == ["nobody there", "`alive`: it broke off"]


def test_a_source_whose_frames_cannot_be_decoded_is_given_up() -> None:
    script = Script([5], [UNREADABLE], [UNREADABLE, 6], *([[UNREADABLE]] * 9))
    with LiveFrames([LiveSource("hive", "hive", script.open)], QUICK) as frames:
        for reader in frames._readers:
            reader.join(5)
        assert not any(reader.is_alive() for reader in frames._readers)
    assert script.opened == 1 + QUICK.attempts and frames.counts[0].reconnected == 0
    assert frames.counts[0].problem == "`hive`: it broke off"


def test_a_stop_ends_the_wait_for_frames_that_do_not_come() -> None:
    go = threading.Semaphore(0)
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    with LiveFrames([LiveSource("a", "a", Script([1], go=go).open)], QUICK, stop_requested=stop) as frames:
        assert list(frames) == []
        go.release(2)


def test_what_nobody_foresaw_gets_through() -> None:
    def broken() -> Script:
        raise RuntimeError("a bug")

    with (
        LiveFrames([LiveSource("a", "a", broken)], QUICK) as frames,
        pytest.raises(RuntimeError, match="a bug"),
    ):
        list(frames)


def test_a_stream_that_drops_twice_is_connected_again() -> None:
    connections = iter([[10, 20, 30, 40], [60, 70, 80, 90], [110, 120, 130, 140]])
    with serving(lambda request: send_images(request, next(connections, []))) as server:
        address = f"{server.address}/hive"
        source = LiveSource("hive", "hive", partial(open_stream, address, name="hive"))
        with LiveFrames([source], QUICK) as frames:
            seen = [frame for batch in frames for frame in batch]
    assert server.asked == ["/hive"] * 5, "two reconnections, and two attempts that gave nothing"
    assert (frames.counts[0].reconnected, frames.counts[0].taken + frames.counts[0].dropped) == (2, 12)
    assert levels(seen)[-1] == pytest.approx(140, abs=3), "the newest frame is never lost"
    numbers = [frame.number for frame in seen]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 11
    assert seen[0].image.shape == (64, 96, 3) and seen[0].video is not None and seen[0].video.num_frames == 0


def test_addresses_of_streams_open_no_file_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with VideoWriter(path, fps=5, size_hw=(32, 32)) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    for address in (str(path), f"file://{path}"):
        with pytest.raises(DataError, match="stream `it` cannot be opened"):
            open_stream(address, name="it")


def test_a_camera_that_is_not_there_is_named_and_nothing_else_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="camera 99 cannot be opened"):
        open_camera(99)
    with pytest.raises(DataError, match="stream `it` cannot be opened"):
        open_stream("rtsp://127.0.0.1:1/a", name="it")
    assert capfd.readouterr() == ("", "")
