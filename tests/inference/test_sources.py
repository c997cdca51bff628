"""What the user may type as a source, what is found there, and what is refused with which words."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from onelook.data.media import VideoWriter
from onelook.errors import DataError, SettingsError
from onelook.files.images import write_image
from onelook.inference.sources.files import find_media, read_frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "a.JPG", "deep/c.bmp"):
        write_image(tmp_path / name, np.full((20, 30, 3), 90, np.uint8))
    with VideoWriter(tmp_path / "Z.mp4", fps=5, size_hw=(32, 32)) as writer:
        for level in (0, 80, 160):
            writer.write(np.full((32, 32, 3), level, np.uint8))
    (tmp_path / "notes.md").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes((tmp_path / "b.png").read_bytes())
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_gives_its_images_then_its_videos(folder: Path) -> None:
    assert names(find_media(folder)) == ["a.JPG", "b.png", "Z.mp4"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*.png", ["b.png"]), ("**/*.*", ["a.JPG", "b.png", "c.bmp", "Z.mp4"]), ("?.[jJ]*", ["a.JPG"])],
)
def test_a_pattern_gives_what_it_matches(folder: Path, pattern: str, expected: list[str]) -> None:
    assert names(find_media(f"{folder}/{pattern}")) == expected


def test_a_single_file_gives_itself(folder: Path) -> None:
    assert find_media(folder / "b.png") == [folder / "b.png"]
    assert find_media(str(folder / "Z.mp4")) == [folder / "Z.mp4"]


def test_a_name_with_brackets_is_a_file_if_it_exists(tmp_path: Path) -> None:
    write_image(tmp_path / "a[1].png", np.zeros((20, 20, 3), np.uint8))
    assert names(find_media(tmp_path / "a[1].png")) == ["a[1].png"]


def test_a_list_is_read_relative_to_its_own_folder_or_the_current_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = folder / "lists"
    lists.mkdir()
    (lists / "all.txt").write_bytes(b"\xef\xbb\xbf../b.png\r\n\r\n./deep/c.bmp\r\n")
    monkeypatch.chdir(folder)
    assert names(find_media("lists/all.txt")) == ["b.png", "c.bmp"]


def test_backslashes_in_a_list_are_read_as_slashes_and_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "list.txt").write_bytes(b".\\deep\\c.bmp\r\nb.png\r\n")
    with caplog.at_level(logging.WARNING):
        assert names(find_media(folder / "list.txt")) == ["c.bmp", "b.png"]
    assert caplog.messages == [f"list `{folder}/list.txt`: `\\` is read as `/` in 1 line"]


def test_entries_of_a_folder_that_are_no_regular_files_are_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    media = names(find_media(folder))
    caplog.clear()
    (folder / "self.jpg").symlink_to(folder / "self.jpg")
    (folder / "broken.jpg").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.jpg").mkdir()
    with caplog.at_level(logging.WARNING):
        assert names(find_media(folder)) == media
    assert "no regular file 3" in caplog.text
    with pytest.raises(DataError, match="1 file of other kinds \\(no regular file 1\\)"):
        find_media(folder / "pipe.png")


def test_missing_entries_of_a_list_are_named_with_their_lines(folder: Path) -> None:
    (folder / "all.txt").write_text("b.png\nnope.jpg\nalso.jpg\n")
    with pytest.raises(DataError, match=r"line 2: `nope.jpg` does not exist\n.*line 3: `also.jpg`"):
        find_media(folder / "all.txt")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("https://example.org/a.jpg", "is a web file, not a file of this machine\nhint: use `onelook detect"),
        ("rtsp://camera/1", "is a stream"),
        ("0", "is a camera"),
        ("screen 0", "is a screen"),
        ("cams.streams", "is a list of streams"),
        ("no/such/file.jpg", "does not exist"),
        ("no/such/*.jpg", "no image or video in pattern"),
        ("x" * 300, "is no path"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(source: str, words: str) -> None:
    with pytest.raises((DataError, SettingsError), match=words):
        find_media(source)


def test_a_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no files"):
        find_media(tmp_path)
    (tmp_path / "a.pdf").write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 file of other kinds \(\.pdf 1\)"):
        find_media(tmp_path)
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError) as refused:
        find_media(tmp_path)
    assert refused.value.hint == f'folders in it are not searched; a pattern does that: "{tmp_path}/**/*"'


def test_the_pattern_that_a_hint_suggests_fits_folders_with_brackets_too(tmp_path: Path) -> None:
    folder = tmp_path / "shots [2024]"
    (folder / "val").mkdir(parents=True)
    write_image(folder / "val" / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError) as refused:
        find_media(folder)
    assert find_media(str(refused.value.hint).split('"')[1]) == [folder / "val" / "a.png"]


def test_a_pattern_that_fits_folders_alone_is_not_told_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError) as refused:
        find_media(tmp_path / "*")
    assert (refused.value.hint or "").startswith("known are")


def test_frames_come_in_order_with_their_numbers(folder: Path) -> None:
    frames = list(read_frames(find_media(folder), vid_stride=2))
    assert [(frame.path.name, frame.number, frame.video is not None) for frame in frames] == [
        ("a.JPG", 0, False),
        ("b.png", 0, False),
        ("Z.mp4", 0, True),
        ("Z.mp4", 2, True),
    ]


def test_damaged_files_are_passed_over_and_reported(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"\x89PNG broken")
    problems: list[DataError] = []
    frames = list(read_frames(find_media(folder), on_problem=problems.append))
    assert [frame.path.name for frame in frames] == ["a.JPG", "Z.mp4", "Z.mp4", "Z.mp4"]
    assert len(problems) == 1
    assert "b.png" in problems[0].message
    with pytest.raises(DataError, match=r"b\.png"):
        list(read_frames(find_media(folder)))


def test_images_decoded_ahead_come_in_order_and_name_where_they_were_fetched(tmp_path: Path) -> None:
    for number in range(30):
        write_image(tmp_path / f"{number:02}.png", np.full((20, 30, 3), number, np.uint8))
    paths = find_media(tmp_path)
    frames = list(read_frames(paths, addresses={paths[3]: "https://example.org/3.png"}))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(30))
    assert frames[3].shown == "https://example.org/3.png" and frames[4].shown == str(paths[4])


def test_leaving_early_leaves_no_thread_behind(tmp_path: Path) -> None:
    for number in range(20):
        write_image(tmp_path / f"{number:02}.png", np.full((20, 30, 3), number, np.uint8))
    frames = read_frames(find_media(tmp_path))
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("onelook-")]
