"""Videos: what is written reads back; what is no video is refused without being opened."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from onelook.data import video_container
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
    with pytest.raises(DataError, match="its content is not a video that we read"):
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


CODECS = {"mp4": "mp4v", "mov": "mp4v", "avi": "XVID", "mkv": "mp4v", "webm": "VP80", "ts": "mp4v", "wmv": "WMV2"}


def film(path: Path, *, num_frames: int = 100) -> bytes:
    """A video in the container that the suffix of `path` names."""
    code = cv2.VideoWriter_fourcc(*CODECS[path.suffix[1:]])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25, (160, 120))
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8), (9, 9), 3)
    for number in range(num_frames):
        writer.write(np.roll(noise, 2 * number, axis=1))
    writer.release()
    return path.read_bytes()


def with_hole(data: bytes, share: float) -> bytes:
    start, size = int(0.4 * len(data)), int(share * len(data))
    return data[:start] + bytes(size) + data[start + size :]


def frames_and_loss(path: Path) -> tuple[int, str]:
    """Frames that came, and the error at their end."""
    count = 0
    try:
        for _ in video_frames(path):
            count += 1
    except DataError as problem:
        return count, problem.message
    return count, ""


@pytest.mark.parametrize("suffix", CODECS)
def test_a_whole_video_has_no_loss(suffix: str, tmp_path: Path) -> None:
    film(tmp_path / f"a.{suffix}")
    assert frames_and_loss(tmp_path / f"a.{suffix}") == (100, "")


@pytest.mark.parametrize("share", [0.04, 0.2])
@pytest.mark.parametrize("suffix", CODECS)
def test_frames_behind_a_hole_come_and_the_loss_is_told(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(with_hole(film(path), share))
    count, loss = frames_and_loss(path)
    assert 100 * (1 - share) - 15 <= count < 100
    assert loss == f"video `{path}` is damaged: {100 - count} of 100 frames cannot be decoded"


@pytest.mark.parametrize("suffix", ["avi", "mkv", "webm", "ts"])
def test_a_video_that_is_cut_off_is_told(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    data = film(path)
    path.write_bytes(data[: int(0.6 * len(data))])
    count, loss = frames_and_loss(path)
    assert 55 <= count <= 61
    assert "is damaged: " in loss and (
        "of 100 frames cannot be decoded" in loss or "cut off" in loss or "of 61" in loss
    )


def with_index_in_front(data: bytes) -> bytes:
    """An MP4 as it is made for the web: the box `moov` before the frames, whose places move on by its size."""
    media, place = data.index(b"mdat") - 4, data.rindex(b"moov") - 4
    index = bytearray(data[place:])
    table = index.index(b"stco") + 8
    for number in range(struct.unpack_from(">I", index, table)[0]):
        at = table + 4 + 4 * number
        struct.pack_into(">I", index, at, struct.unpack_from(">I", index, at)[0] + len(index))
    return data[:media] + index + data[media:place]


def test_an_mp4_that_is_cut_off_behind_its_index_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    data = with_index_in_front(film(path))
    path.write_bytes(data)
    assert frames_and_loss(path) == (100, "")
    path.write_bytes(data[: int(0.6 * len(data))])
    count, loss = frames_and_loss(path)
    assert 55 <= count <= 61
    assert loss == f"video `{path}` is damaged: {100 - count} of 100 frames cannot be decoded"


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
@pytest.mark.parametrize("missing", [600, 100])
def test_a_video_whose_index_does_not_fit_on_the_disk_is_not_kept(tmp_path: Path, missing: int) -> None:
    import resource

    def record(path: Path) -> int:
        with VideoWriter(path, fps=25, size_hw=(120, 160)) as writer:
            for number in range(100):
                writer.write(np.full((120, 160, 3), number, np.uint8))
        return path.stat().st_size

    size = record(tmp_path / "whole.mp4")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - missing, before[1]))
    try:
        with pytest.raises(DataError, match="was not written whole"):
            record(tmp_path / "a.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.mp4"]


def test_a_video_whose_index_is_too_large_to_be_read_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_container, "_MAX_INDEX_BYTES", 100)
    film(tmp_path / "a.mp4")
    assert frames_and_loss(tmp_path / "a.mp4") == (100, "")


def boxes_in(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of each box."""
    found, at = [], 0
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        found.append((name, data[at + 8 : at + length]))
        at += length
    return found


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def without_samples(name: bytes, content: bytes) -> bytes:
    """The box `moov` of a fragmented file, of that of a usual one: its tables of samples are empty."""
    if name in (b"stss", b"ctts", b"edts", b"udta"):
        return b""
    if name in (b"stts", b"stsc", b"stco", b"stsz"):
        return box(name, bytes(12 if name == b"stsz" else 8))
    if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        content = b"".join(without_samples(*inner) for inner in boxes_in(content))
    if name == b"moov":
        content += box(b"mvex", box(b"trex", struct.pack(">6I", 0, 1, 1, 0, 0, 0)))
    return box(name, content)


def fragmented(data: bytes, *, frames_each: int = 10) -> bytes:
    """An MP4 in fragments, as streams are recorded: the places of frames stand before each group of them."""
    top = dict(boxes_in(data))
    sizes = struct.unpack_from(">100I", top[b"moov"], top[b"moov"].index(b"stsz") + 16)
    duration = struct.unpack_from(">I", top[b"moov"], top[b"moov"].index(b"stts") + 16)[0]
    made, at = box(b"ftyp", top[b"ftyp"]) + without_samples(b"moov", top[b"moov"]), 0
    for first in range(0, len(sizes), frames_each):
        group = sizes[first : first + frames_each]
        table = b"".join(
            struct.pack(">3I", duration, size, 0x10000 if number else 0) for number, size in enumerate(group)
        )
        header = b""
        for offset in (0, 1):  # of the frames behind the start of `moof`, known once that is made
            run = struct.pack(">Ii", len(group), offset and len(header) + 8) + table
            inner = box(b"tfhd", struct.pack(">2I", 0x20000, 1)) + box(b"tfdt", struct.pack(">2I", 0, first * duration))
            track = box(b"traf", inner + box(b"trun", struct.pack(">I", 0x701) + run))
            header = box(b"moof", box(b"mfhd", struct.pack(">2I", 0, 1 + first)) + track)
        made += header + box(b"mdat", top[b"mdat"][at : at + sum(group)])
        at += sum(group)
    return made


def test_a_fragmented_mp4_that_is_whole_has_no_loss(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(fragmented(film(path)))
    assert frames_and_loss(path) == (100, "")


@pytest.mark.parametrize("part", [0.35, 0.6, 0.61, 0.62, 0.9, 0.99])
def test_a_fragmented_mp4_that_is_cut_off_is_told(part: float, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    data = fragmented(film(path))
    path.write_bytes(data[: int(part * len(data))])
    count, loss = frames_and_loss(path)
    assert 100 * part - 12 <= count <= 100 * part + 2
    assert "is damaged: " in loss


@pytest.mark.parametrize("share", [0.04, 0.15, 0.2])
def test_a_fragmented_mp4_with_a_hole_is_told(share: float, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(with_hole(fragmented(film(path)), share))
    count, loss = frames_and_loss(path)
    assert count < 100 and "is damaged: " in loss


def test_an_mp4_without_its_index_is_refused_with_the_reason(tmp_path: Path) -> None:
    data = film(tmp_path / "a.mp4")
    for size in (int(0.6 * len(data)), 40):
        (tmp_path / "a.mp4").write_bytes(data[:size])
        assert frames_and_loss(tmp_path / "a.mp4") == (
            0, f"video `{tmp_path}/a.mp4` cannot be used: its index (the box `moov`) is missing: it is cut off, or was "
            "not finished",
        )  # fmt: skip


@pytest.mark.parametrize("junk", [b"junk" * 50, bytes(range(1, 200)), b"\0" * 7, b"\0" * 500])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "avi", "mkv", "ts"])
def test_bytes_behind_the_end_of_a_video_cost_no_frame(suffix: str, junk: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(film(path, num_frames=20) + junk)
    assert frames_and_loss(path) == (20, "")


def test_a_video_that_a_phone_has_shortened_is_whole(tmp_path: Path) -> None:
    """Its edit list leaves out frames that its table has."""
    data = bytearray(film(tmp_path / "a.mp4"))
    scale = struct.unpack_from(">I", data, data.find(b"mdhd") + 16)[0]
    struct.pack_into(">IiI", data, data.find(b"elst") + 12, 2400, int(0.8 * scale), 1 << 16)
    (tmp_path / "a.mp4").write_bytes(data)
    assert video_info(tmp_path / "a.mp4").num_frames == 100
    assert frames_and_loss(tmp_path / "a.mp4") == (60, "")


@pytest.mark.parametrize("fps", [105611 / 500, 30000 / 1001, 240.0, 1e-4, 999.999, 9999.9, 24 / 1.001 / 7])
def test_any_rate_can_be_written(fps: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "a.mp4", [50] * 12, fps=fps)
    assert video_info(path).fps == pytest.approx(max(fps, 0.01), rel=1e-3)
    assert frames_and_loss(path) == (12, "")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size_hw", [(47, 63), (48, 63), (47, 64)])
def test_odd_sizes_lose_no_pixel(size_hw: tuple[int, int], tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=5, size_hw=size_hw) as writer:
        rgb = np.zeros((*size_hw, 3), np.uint8)
        rgb[-8:, -8:] = 255
        writer.write(rgb)
    (_, image) = next(iter(video_frames(tmp_path / "a.mp4")))
    assert image.shape[:2] == (48, 64) and image[-8:, -8:].mean() > 240


def test_what_cannot_be_written_is_said_once_and_quietly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"cannot be written: 20000 x 20 pixels at 5 fps\nhint: `--nosave`"):
        VideoWriter(tmp_path / "a.mp4", fps=5, size_hw=(20, 20_000))
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())
