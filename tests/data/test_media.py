"""Videos: what is written reads back; what is no video is refused without being opened."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from onelook.data.media import VideoWriter, video_frames, video_info
from onelook.errors import DataError

PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://localhost/secret.ts\n"


def write_video(path: Path, grey_levels: list[int], size_hw: tuple[int, int] = (48, 64), fps: float = 10.0) -> Path:
    with VideoWriter(path, fps=fps, size_hw=size_hw) as writer:
        for level in grey_levels:
            writer.write(np.full((*size_hw, 3), level, np.uint8))
    return path


def test_a_written_video_reads_back_frame_by_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [20, 120, 220])
    frames = list(video_frames(path))
    assert [number for number, _ in frames] == [0, 1, 2]
    assert [round(float(image.mean()), -1) for _, image in frames] == [20, 120, 220]
    assert frames[0][1].shape == (48, 64, 3)


def test_colours_keep_their_order(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "red.mp4", fps=5, size_hw=(32, 32)) as writer:
        writer.write(np.tile(np.array([250, 10, 10], np.uint8), (32, 32, 1)))
    (_, image), *_ = video_frames(tmp_path / "red.mp4")
    assert image[..., 0].mean() > 200 > 60 > image[..., 2].mean()


@pytest.mark.parametrize(("stride", "expected"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3]), (9, [0])])
def test_stride_takes_every_nth_frame(tmp_path: Path, stride: int, expected: list[int]) -> None:
    path = write_video(tmp_path / "a.mp4", [10, 60, 110, 160, 210])
    frames = list(video_frames(path, stride=stride))
    assert [number for number, _ in frames] == expected
    assert [round(float(image.mean()), -1) for _, image in frames] == [10 + 50 * number for number in expected]


def test_info_tells_speed_length_and_size(tmp_path: Path) -> None:
    info = video_info(write_video(tmp_path / "a.mp4", [0] * 7, size_hw=(40, 80), fps=12.5))
    assert (info.fps, info.num_frames, info.size_hw) == (12.5, 7, (40, 80))


def test_a_video_appears_under_its_name_only_when_complete(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", fps=5, size_hw=(32, 32))
    writer.write(np.zeros((32, 32, 3), np.uint8))
    assert not (tmp_path / "a.mp4").exists()
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_frames_of_another_size_are_resized(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=5, size_hw=(32, 48)) as writer:
        writer.write(np.zeros((32, 48, 3), np.uint8))
        writer.write(np.full((64, 64, 3), 200, np.uint8))
    assert [image.shape for _, image in video_frames(tmp_path / "a.mp4")] == [(32, 48, 3), (32, 48, 3)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.mp4", PLAYLIST),
        ("concat.mov", b"ffconcat version 1.0\nfile /etc/hostname\n"),
        ("text.avi", b"not a video at all\n" * 50),
        ("empty.mp4", b""),
        ("image.mkv", b"\x89PNG\r\n\x1a\n" + bytes(100)),
    ],
)
def test_content_that_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="its content is no video that we read"):
        next(video_frames(tmp_path / name))


@pytest.mark.parametrize("content", [b"\0\0\0\x18ftypmp42" + bytes(300), b"RIFF\0\0\0\0AVI " + bytes(300)])
def test_a_head_without_a_body_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DataError, match="cannot be used"):
        list(video_frames(tmp_path / "a.mp4"))


def test_missing_files_and_pipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        video_info(tmp_path / "gone.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(DataError, match="not a regular file"):
        video_info(tmp_path / "pipe.mp4")


def test_a_percent_sign_in_the_name_is_no_pattern(tmp_path: Path) -> None:
    assert len(list(video_frames(write_video(tmp_path / "shot_%02d.mp4", [5, 6])))) == 2
