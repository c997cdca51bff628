"""Archives of other writers and of torch are read to the byte."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from zips import End, Part, archive, end64

from onelook.errors import CheckpointError
from onelook.interop.zip_members import open_members

PARTS = [Part("a/one", b"1" * 100), Part("a/two", b""), Part("a/three", bytes(range(256)))]


def read(path: Path, data: bytes) -> dict[str, bytes]:
    path.write_bytes(data)
    with open_members(path) as members:
        assert members.file_bytes == len(data)
        return {name: bytes(members.read(name, 1 << 20)) for name in members.names}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.zip"


def test_members_are_those_that_were_written(path: Path) -> None:
    expected = {part.name: part.content for part in PARTS}
    assert read(path, archive(PARTS)) == expected
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w", zipfile.ZIP_STORED) as writer:
        for name, content in expected.items():
            writer.writestr(name, content)
    assert read(path, other.getvalue()) == expected


def test_an_archive_of_torch_is_read_to_the_byte(path: Path) -> None:
    file = io.BytesIO()
    torch.save({"x": torch.arange(1000, dtype=torch.int16), "y": torch.ones(3)}, file)
    with zipfile.ZipFile(file) as reader:
        expected = {name: reader.read(name) for name in reader.namelist()}
    assert read(path, file.getvalue()) == expected


def test_sizes_of_64_bits_are_read(path: Path) -> None:
    plain = archive(PARTS)
    start, place = plain.index(b"PK\1\2"), plain.index(b"PK\5\6")
    large = End(count=0xFFFF, length=0xFFFFFFFF, start=0xFFFFFFFF, before=end64(3, place - start, start, place))
    assert len(read(path, archive(PARTS, large))) == 3
    extra = struct.pack("<4H", 0x7777, 4, 0, 0) + struct.pack("<2H2Q", 1, 16, 100, 100)
    parts = [Part("a/one", b"1" * 100, size=0xFFFFFFFF, packed=0xFFFFFFFF, extra=extra), *PARTS[1:]]
    assert read(path, archive(parts))["a/one"] == b"1" * 100


def test_what_is_no_file_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place, says in ((tmp_path, "not a regular file"), (pipe, "not a regular file"), (tmp_path / "no", "opened")):
        with pytest.raises(CheckpointError, match=says), open_members(place):
            pass
    data = archive(PARTS)
    with pytest.raises(CheckpointError, match="member `a/one` has 100 bytes, more than the limit of 99"):
        (tmp_path / "a.zip").write_bytes(data)
        with open_members(tmp_path / "a.zip") as members:
            members.read("a/one", 99)
    monkeypatch.setattr("onelook.interop.zip_members.MAX_FILE_BYTES", 300)
    with pytest.raises(CheckpointError, match=f"it has {len(data)} bytes, more than the limit of 300"):
        read(tmp_path / "a.zip", data)


def test_every_byte_of_a_member_counts(path: Path) -> None:
    data = archive(PARTS)
    place = data.index(bytes(range(256)))
    for offset in (0, 100, 255):
        with pytest.raises(CheckpointError, match="the checksum of member `a/three` is wrong"):
            read(path, data[: place + offset] + b"\x77" + data[place + offset + 1 :])
