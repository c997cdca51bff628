"""Hostile and damaged zip archives: nothing is written outside, and nothing at all unless the whole is good."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from zips import Part, archive

from onelook.errors import DataError, StopRequested
from onelook.files.archive_names import key_of, refusal_of
from onelook.files.archives import ArchiveLimits, unpack_zip

MIB = 1 << 20


def zipped(members: dict[str, bytes], *, kind: int = stat.S_IFREG, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive made by Python, all members with these file modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o644) << 16
            info.compress_type = method
            file.writestr(info, content)
    return buffer.getvalue()


def overlapping() -> bytes:
    """Two members of the directory that share their bytes."""
    parts = [Part("a.txt", b"x" * 50), Part("b.txt", b"x" * 50, header=0)]
    return archive(parts)


def beyond_the_end(place: int) -> bytes:
    """A member that begins where no archive of this size has bytes, as zip64 can say it."""
    return archive([Part("a.txt", b"x", header=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, place))])


def encrypted() -> bytes:
    return archive([Part("a.txt", b"secret", flags=0x0801)])


def lying_about_size() -> bytes:
    data = bytearray(zipped({"a.txt": bytes(1000)}, method=zipfile.ZIP_STORED))
    start = data.rindex(b"PK\1\2")
    data[start + 24 : start + 28] = (900).to_bytes(4, "little")
    data[start + 20 : start + 24] = (900).to_bytes(4, "little")
    return bytes(data)


def wrong_checksum() -> bytes:
    return archive([Part("a.txt", b"content", crc=1)])


def large_directory() -> bytes:
    data = bytearray(zipped({"a.txt": b"x"}))
    data[-10:-6] = (1 << 30).to_bytes(4, "little")
    return bytes(data)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "slip": (lambda: zipped({"../evil.txt": b"x"}), "it leaves the folder"),
    "deep slip": (lambda: zipped({"a/b/../../../evil.txt": b"x"}), "it leaves the folder"),
    "absolute": (lambda: zipped({"/tmp/evil.txt": b"x"}), "it is absolute"),
    "drive": (lambda: zipped({"C:/evil.txt": b"x"}), "it has one of"),
    "backslash": (lambda: zipped({"..\\evil.txt": b"x"}), "backslash"),
    "share": (lambda: zipped({"\\\\host\\share": b"x"}), "backslash"),
    "home": (lambda: zipped({"~/evil.txt": b"x"}), "it is absolute"),
    "symbolic link": (lambda: zipped({"link": b"/etc/passwd"}, kind=stat.S_IFLNK), "it is a link"),
    "device": (lambda: zipped({"null": b""}, kind=stat.S_IFCHR), "it is a link, a device"),
    "pipe": (lambda: zipped({"pipe": b""}, kind=stat.S_IFIFO), "it is a link, a device"),
    "socket": (lambda: zipped({"sock": b""}, kind=stat.S_IFSOCK), "it is a link, a device"),
    "bomb": (lambda: zipped({"zeros": bytes(64 * MIB)}), "a bomb"),
    "many small bombs": (lambda: zipped({f"{n}": bytes(MIB) for n in range(40)}), "a bomb"),
    "overlap": (overlapping, "overlap"),
    "beyond the end": (lambda: beyond_the_end(2**62), "beyond the end"),
    "far beyond the end": (lambda: beyond_the_end(2**64 - 1), "beyond the end"),
    "NUL": (lambda: archive([Part("a.txt\0../b", b"x")]), "NUL"),
    "same name twice": (lambda: archive([Part("a.txt", b"x"), Part("a.txt", b"y")]), "it would overwrite `a.txt`"),
    "upper and lower case": (lambda: zipped({"A.txt": b"x", "a.txt": b"y"}), "it would overwrite `A.txt`"),
    "composed and decomposed": (lambda: zipped({"\u00e9": b"x", "e\u0301": b"y"}), "it would overwrite"),
    "folders in two cases": (lambda: zipped({"A/x": b"x", "a/y": b"y"}), "its folder is spelt `A` elsewhere"),
    "a folder of its own in another case": (lambda: zipped({"A/": b"", "a/y": b"y"}), "is spelt `A` elsewhere"),
    "a file as folder": (lambda: zipped({"a": b"x", "a/b": b"y"}), "`a` is a file"),
    "Windows device": (lambda: zipped({"aux.txt": b"x"}), "is a device on Windows"),
    "stream": (lambda: zipped({"a.txt:hidden": b"x"}), "it has one of"),
    "trailing dot": (lambda: zipped({"a./b": b"x"}), "ends with a dot"),
    "reversed": (lambda: zipped({"gpj\u202egnp.exe": b"x"}), "invisible characters"),
    "full-width dots": (lambda: zipped({"\uff0e\uff0e/evil": b"x"}), "it leaves the folder"),
    "full-width slash": (lambda: zipped({"..\uff0fevil": b"x"}), "looks like a slash"),
    "line break": (lambda: zipped({"a\nb": b"x"}), "invisible characters"),
    "encrypted": (encrypted, "it is encrypted"),
    "odd method": (lambda: zipped({"a": b"x" * 99}, method=zipfile.ZIP_LZMA), "packed by method 14"),
    "long name": (lambda: zipped({"a" * 300: b"x"}), "more than 255 bytes"),
    "too short a claim": (lying_about_size, "is damaged"),
    "wrong checksum": (wrong_checksum, "is damaged"),
    "large directory": (large_directory, "list of members claims"),
    "no archive": (lambda: b"hello", "is not a zip archive"),
    "empty file": (lambda: b"", "is not a zip archive"),
    "cut off": (lambda: zipped({"a": os.urandom(5000)})[:3000], "is not a zip archive"),
    "tar": (lambda: b"a.txt".ljust(257, b"\0") + b"ustar\x0000" + bytes(249), "is not a zip archive"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    make, words = HOSTILE[case]
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    (folder / "x.zip").write_bytes(make())
    with pytest.raises(DataError) as caught:
        unpack_zip(folder / "x.zip", folder / "out")
    assert words in caught.value.message and caught.value.hint
    assert [path for path in sorted(tmp_path.rglob("*")) if not path.is_dir()] == [folder / "x.zip"]
    assert not (folder / "out").exists()


def test_ten_times_ten_thousand_members_are_too_many_for_a_small_limit(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zipped({f"{n}": b"" for n in range(2000)}))
    with pytest.raises(DataError, match="it has 2000 members, more than the limit of 1000"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "out", limits=ArchiveLimits(max_members=1000))
    with pytest.raises(DataError, match="list of members claims"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "out", limits=ArchiveLimits(max_directory_bytes=1000))


def test_more_bytes_than_the_limit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zipped({"a": os.urandom(5000)}))
    with pytest.raises(DataError, match="it unpacks to 5000 bytes, more than the limit of 4000"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "out", limits=ArchiveLimits(max_bytes=4000))


def test_a_good_archive_is_unpacked_without_the_litter_of_archivers(tmp_path: Path) -> None:
    members = {"images/": b"", "images/1.jpg": os.urandom(3 * MIB), "labels/ä b.txt": b"0 .5 .5 .1 .1\n", "empty": b""}
    (tmp_path / "x.zip").write_bytes(zipped({**members, "__MACOSX/._1.jpg": b"x"}))
    seen: list[tuple[int, int]] = []
    assert unpack_zip(tmp_path / "x.zip", tmp_path / "out", progress=lambda *both: seen.append(both)) == 3
    found = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        name: content for name, content in members.items() if not name.endswith("/")
    }
    assert seen[-1][0] == seen[-1][1] == 3 * MIB + 14
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o111 == 0 for path in found.values())


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zipped({"a": b"x"}))
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="out` already exists"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "out")
    assert not (tmp_path / "elsewhere").exists()


def test_a_stop_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zipped({"a": os.urandom(3 * MIB)}))
    with pytest.raises(StopRequested, match="was stopped"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "out", stop_requested=lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def traversal_strings() -> list[str]:
    """Ways to write "up and out" that some system or some tool has taken for that."""
    dots = ["..", "...", ". .", "..%00", "\uff0e\uff0e", "\u2024\u2024", ".\u200b.", "..\u00a0", ".. ", "..."]
    slashes = ["/", "\\", "//", "/./", "\uff0f", "\u2215\\", "\\/", "/\\"]
    ends = ["etc/passwd", "x", "..", ""]
    prefixes = ["", "a/", "/", "C:", "./", "~", "file://", "\\\\?\\", "a/b/"]
    made = [f"{p}{d}{s}{e}" for d in dots for s in slashes for e in ends for p in prefixes]
    fixed = [
        "/etc/passwd", "C:\\Windows", "c:evil", "\\\\host\\share\\x", "//host/x", "NUL", "con.txt", "a/aux", "COM1",
        "lpt9.log", "a:b", "a\0b", "a/./b", "a//b", "./a", "a/.", "..", ".", "", "/", "~root/x", "\u202etxt.exe",
        "a\r\nb", "\x7f", "\ud800", "%2e%2e\\x", "a?", "a*", "a|b", "<a>", 'a"b', "a ", " a", "a.", "com\u00b9",
    ]  # fmt: skip
    return [*fixed, *made]


def test_no_traversal_string_becomes_a_name_that_leads_out(tmp_path: Path) -> None:
    strings = traversal_strings()
    assert len(strings) > 200
    root = tmp_path / "root"
    for text in strings:
        if refusal_of(text) is None:
            place = Path(os.path.normpath(root.joinpath(*text.split("/"))))
            assert place.is_relative_to(root) and place != root, text
            assert not {"..", ".", ""} & set(text.removesuffix("/").split("/")) and "\\" not in text, text
    refused = [text for text in strings if refusal_of(text) is not None]
    assert len(refused) > 0.9 * len(strings)
    assert all(refusal_of(text) for text in strings[:35])


@pytest.mark.parametrize(
    "name", ["a.jpg", "images/train/1.jpg", "Ünïcode/日本語.txt", "a..b", ".hidden", "a b.txt", "x/"]
)
def test_plain_names_are_taken(name: str) -> None:
    assert refusal_of(name) is None


def test_names_that_fall_together_somewhere_have_one_key() -> None:
    assert key_of("Straße") == key_of("STRASSE") and key_of("a/B/") == key_of("A/b") and key_of("a") != key_of("b")
