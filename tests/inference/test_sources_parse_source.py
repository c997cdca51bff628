"""What each way to type a source means, what cannot be, and what a list of streams may say."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from onelook.errors import DataError, SettingsError
from onelook.files.images import write_image
from onelook.files.web import shown_address
from onelook.inference.sources.addresses import ScreenArea, file_name_of, kind_of, screen_area, stem_of
from onelook.inference.sources.parse_source import WebSource, find_sources
from onelook.inference.sources.screen import ScreenInput


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_image(tmp_path / "a.png", np.zeros((20, 20, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0", "camera"), ("12", "camera"), ("-1", "path"), ("٣", "path"),
        ("screen", "screen"), ("screen 1 2 3 4 5", "screen"), ("screenshot.png", "path"),
        ("rtsp://10.0.0.7/hive", "stream"), ("http://cam/video", "stream"), ("http://cam/live.m3u8", "stream"),
        ("rtsp://cam/a.mp4", "stream"), ("ftp://a.org/a.jpg", "stream"),
        ("https://a.org/a.jpg", "web file"), ("HTTPS://a.org/b/a.MP4?x=1#y", "web file"),
        ("http://a.org?file=a.jpg", "stream"), ("cams.streams", "list of streams"),
        ("https://a.org/a.jpg?" + "x" * 5000, "web file"), ("rtsp://cam/" + "x" * 5000, "stream"),
        ("a.png", "path"), ("no/such.jpg", "path"), ("*.png", "path"),
    ],
)  # fmt: skip
def test_kinds_of_sources(text: str, kind: str, here: Path) -> None:
    assert kind_of(text) == kind


def test_what_exists_is_a_path_whatever_it_is_called(here: Path) -> None:
    (here / "0").mkdir()
    write_image(here / "0" / "b.png", np.zeros((20, 20, 3), np.uint8))
    assert [path.name for path in find_sources(["0"]).files if isinstance(path, Path)] == ["b.png"]


def test_several_files_come_in_the_order_typed(here: Path) -> None:
    write_image(here / "b.png", np.zeros((20, 20, 3), np.uint8))
    found = find_sources(["b.png", "https://a.org/c.jpg", "*.png"])
    assert found.files == (Path("b.png"), WebSource("https://a.org/c.jpg"), Path("a.png"), Path("b.png"))
    assert not found.live and len(found) == 4


def test_live_sources_have_names_without_passwords_and_stems_of_their_own() -> None:
    found = find_sources(["0", "rtsp://u:p@cam/1?key=2", "rtsp://cam/1", "1"])
    assert [(source.name, source.stem) for source in found.live] == [
        ("camera 0", "camera_0"),
        ("rtsp://cam/1", "rtsp_cam_1"),
        ("rtsp://cam/1", "rtsp_cam_1_2"),
        ("camera 1", "camera_1"),
    ]


def test_files_and_live_sources_do_not_mix(here: Path) -> None:
    with pytest.raises(DataError, match="`camera 0` has no end, so it cannot be used together with files"):
        find_sources(["a.png", "0"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://a.org/a.jpg", "begins with `ftp://`, which is not read"),
        ("file:///etc/hostname", "begins with `file://`"),
        ("concat://a|b", "begins with `concat://`"),
        ("http://", "it names no host"),
        ("http://a b/c", "or has blanks"),
        ("http://a.org:port/", "is not a web address"),
        ("https://www.youtube.com/watch?v=1", "is a page with a player"),
        ("999", "is a camera number that is too high"),
        ("screen one", "does not describe a part of the screen"),
        ("screen 1 2", "does not describe a part of the screen"),
        ("screen 0 0 0 0 5", "width and height from 1"),
        ("rtsp://u:secret@/x", "names no host"),
        ("rtsp://u:secret\N{ACCOUNT OF}@cam/x", "its host or port is malformed"),
    ],
)
def test_what_cannot_be_a_source_is_refused_before_anything_is_opened(text: str, words: str) -> None:
    with pytest.raises((DataError, SettingsError), match=words) as caught:
        find_sources([text])
    assert "secret" not in str(caught.value)


def test_a_list_of_streams_has_one_a_line_and_comments(here: Path) -> None:
    (here / "cams.streams").write_bytes(b"\xef\xbb\xbf# the yard\r\n0\r\n\r\n  rtsp://cam/1\nhttp://cam/2.mjpg\n")
    names = [source.name for source in find_sources(["cams.streams"]).live]
    assert names == ["camera 0", "rtsp://cam/1", "http://cam/2.mjpg"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "names no stream"),
        (b"# only\n", "names no stream"),
        (b"0\nphotos\nfile:///etc/x\n", r"line 2: `photos` is not a camera.*\n  - line 3: .*`file://`"),
        (b"\xff\xfe0", "is not UTF-8"),
    ],
)
def test_a_wrong_list_of_streams_is_explained(content: bytes, words: str, here: Path) -> None:
    (here / "cams.streams").write_bytes(content)
    with pytest.raises(DataError, match=words):
        find_sources(["cams.streams"])


def test_a_missing_list_of_streams_is_named(here: Path) -> None:
    with pytest.raises(DataError, match=r"`no\.streams` cannot be opened"):
        find_sources(["no.streams"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("rtsp://10.0.0.7:554/a.b", "rtsp_10_0_0_7_554_a_b"), ("../..", "source"), ("x" * 200, "x" * 80)],
)
def test_stems_are_harmless(name: str, expected: str) -> None:
    assert stem_of(name) == expected


def test_names_of_web_files_cannot_leave_the_folder() -> None:
    for address in ("https://a.org/%2e%2e%2fx.jpg", "https://a.org/..%5Cx.jpg", "https://a.org/a/%2Fetc%2Fx.jpg"):
        assert file_name_of(address) == "x.jpg"
    assert shown_address("https://u:p@a.org/\x1b[2J?q") == r"https://a.org/\x1b[2J"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("screen", ScreenArea()),
        ("screen 2", ScreenArea(2)),
        ("screen 10 20 300 200", ScreenArea(0, (10, 20, 300, 200))),
        ("screen  1 10 20 300 200", ScreenArea(1, (10, 20, 300, 200))),
    ],
)
def test_parts_of_the_screen(text: str, expected: ScreenArea) -> None:
    assert screen_area(text) == expected


def test_the_screen_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mss", None)
    with pytest.raises(SettingsError, match=r'needs the package `mss`.*\nhint: run: pip install "onelook\[screen\]"'):
        find_sources(["screen"])


@pytest.fixture
def two_monitors(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """The package `mss` as its documents describe it, with two monitors side by side; the areas that were grabbed."""
    grabbed: list[dict[str, int]] = []

    class ScreenShotError(Exception):
        pass

    class MSS:
        def __init__(self) -> None:
            sides = ((0, 0, 300, 100), (0, 0, 200, 100), (200, 0, 100, 100))
            self.monitors = [dict(zip(("left", "top", "width", "height"), place, strict=True)) for place in sides]

        def grab(self, area: dict[str, int]) -> Any:
            grabbed.append(area)
            pixels = np.full((area["height"], area["width"], 4), (1, 2, 3, 255), np.uint8)
            return SimpleNamespace(bgra=pixels.tobytes(), width=area["width"], height=area["height"])

        def close(self) -> None:
            self.monitors = []

    package = ModuleType("mss")
    package.MSS, package.ScreenShotError = MSS, ScreenShotError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mss", package)
    return grabbed


def test_the_screen_gives_rgb_of_the_area_asked_for(two_monitors: list[dict[str, int]]) -> None:
    for wanted, place in (
        (ScreenArea(), (0, 0, 300, 100)),
        (ScreenArea(2), (200, 0, 100, 100)),
        (ScreenArea(2, (10, 20, 30, 40)), (210, 20, 30, 40)),
    ):
        with ScreenInput(wanted) as screen:
            assert screen.grab()
            image = screen.image()
        assert image is not None and image.shape == (place[3], place[2], 3)
        assert image[0, 0].tolist() == [3, 2, 1] and tuple(two_monitors[-1].values()) == place


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (ScreenArea(3), "no monitor with that number\nhint: there are 2"),
        (ScreenArea(1, (150, 0, 100, 50)), "beyond the monitor\nhint: it has 200 x 100 pixels"),
    ],
)
def test_parts_of_the_screen_that_are_not_there(
    wanted: ScreenArea, words: str, two_monitors: list[dict[str, int]]
) -> None:
    with pytest.raises(DataError, match=words):
        ScreenInput(wanted)
