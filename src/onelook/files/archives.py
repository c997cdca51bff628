"""Zip archives from others, unpacked so that nothing can land outside a new folder, nor fill the disk."""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onelook.errors import DataError, StopRequested
from onelook.files.archive_names import key_of, refusal_of
from onelook.files.atomic import new_folder
from onelook.files.bounded import printable

StopTest = Callable[[], bool]
Progress = Callable[[int, int], None]

# What Python's reader raises; NotImplementedError is its word for versions and methods that it does not know.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, ValueError)

_CHUNK = 1 << 20
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_END_BYTES, _COMMENT_BYTES = 22, 0xFFFF
# What systems and archivers leave behind; nobody's data.
_LITTER = ("__MACOSX/",)


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold.

    Attributes:
        max_members: files and folders.
        max_bytes: limit for all files together, unpacked.
        max_ratio: unpacked bytes per packed one, of files above a mebibyte and of the archive as a whole.
        max_directory_bytes: limit for the list of members, which is read at once.
    """

    max_members: int = 2_000_000
    max_bytes: int = 1 << 40
    max_ratio: float = 200.0
    max_directory_bytes: int = 1 << 28


def unpack_zip(
    path: Path,
    folder: Path,
    *,
    limits: ArchiveLimits | None = None,
    stop_requested: StopTest | None = None,
    progress: Progress | None = None,
) -> int:
    """Unpack a zip archive into a new folder, which appears whole or not at all; how many files there were.

    Args:
        path: the archive; only its content says what it is.
        folder: must not exist, its parent must.
        limits: what the archive may hold.
        stop_requested: checked for every mebibyte; True ends it, and removes what was unpacked.
        progress: called with (bytes done, bytes in all) now and then.

    Raises:
        DataError: the folder exists, or the archive is no zip, is damaged, holds anything but plain files and folders
            with names that are safe on every system, or is larger than `limits` and the disk allow.
        OSError: the disk is full or failing.
    """
    limits = limits or ArchiveLimits()
    if os.path.lexists(folder):
        raise DataError(f"folder `{printable(folder)}` already exists", hint="remove it, or choose another place")
    try:
        _refuse_large_directory(path, limits)
        with zipfile.ZipFile(path) as archive, new_folder(folder) as unfinished:
            members = _checked(archive, path, limits)
            _refuse_full_disk(path, sum(member.file_size for member in members), folder.parent)
            for done, total in _write_all(archive, members, folder=unfinished, path=path):
                if stop_requested is not None and stop_requested():
                    raise StopRequested(f"unpacking `{printable(path)}` was stopped", hint="start again")
                if progress is not None:
                    progress(done, total)
    except DAMAGE as problem:
        raise DataError(f"archive `{printable(path)}` is damaged: {problem}", hint="fetch it again") from problem
    return sum(not member.is_dir() for member in members)


def _write_all(
    archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], *, folder: Path, path: Path
) -> Iterator[tuple[int, int]]:
    """Write all members below `folder`; bytes done and bytes in all, after each mebibyte."""
    total, done = sum(member.file_size for member in members), 0
    for member in members:
        member_path = folder.joinpath(*member.filename.removesuffix("/").split("/"))
        if member.is_dir():
            member_path.mkdir(parents=True, exist_ok=True)
            continue
        member_path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(member_path, flags, 0o644), "wb") as file:
            for chunk in _content(archive, member, path):
                file.write(chunk)
                done += len(chunk)
                yield done, total


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    """The bytes of a member, never more than it claims; its checksum is compared at the end."""
    left = member.file_size
    with archive.open(member) as file:
        while chunk := file.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left:
        raise _refused(path, member.filename, f"it does not hold the {member.file_size} bytes that it claims")


def _checked(archive: zipfile.ZipFile, path: Path, limits: ArchiveLimits) -> list[zipfile.ZipInfo]:
    """The members to unpack, in the order of the archive, after all of them were checked."""
    members = [member for member in archive.infolist() if not member.orig_filename.startswith(_LITTER)]
    if len(members) > limits.max_members:
        raise _refused(path, "", f"it has {len(members)} members, more than the limit of {limits.max_members}")
    total = sum(member.file_size for member in members)
    if total > limits.max_bytes:
        raise _refused(path, "", f"it unpacks to {total} bytes, more than the limit of {limits.max_bytes}")
    if total > max(_CHUNK, limits.max_ratio * path.stat().st_size):
        raise _refused(path, "", f"it unpacks to {total} bytes, {limits.max_ratio:g} times its size or more: a bomb")
    seen: dict[str, str] = {}
    files: set[str] = set()
    for member in members:
        reason = _refusal_of_member(member, limits)
        if reason is not None:
            raise _refused(path, member.orig_filename, reason)
        key = key_of(member.filename)
        if key in seen:
            raise _refused(path, member.filename, f"it would overwrite `{printable(seen[key])}`")
        seen[key] = member.filename
        if not member.is_dir():
            files.add(key)
    _refuse_files_as_folders(seen, files, path)
    _refuse_overlaps(members, path)
    return members


def _refusal_of_member(member: zipfile.ZipInfo, limits: ArchiveLimits) -> str | None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if member.filename != member.orig_filename:
        return "its name is cut by a NUL, or has a backslash"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a link, a device or something else that is not a plain file"
    if member.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if member.compress_type not in _METHODS:
        return f"it is packed by method {member.compress_type}; stored and deflated members are read"
    if member.file_size > max(_CHUNK, limits.max_ratio * member.compress_size):
        return f"it has {member.file_size} bytes packed into {member.compress_size}: a bomb"
    if member.is_dir() and member.file_size:
        return "it is a folder with content"
    return refusal_of(member.filename)


def _refuse_files_as_folders(seen: dict[str, str], files: set[str], path: Path) -> None:
    """Refuse names of which one is a file and another one lies below it, or spells its folder differently."""
    spelt: dict[str, str] = {}
    checked: set[str] = set()
    for name in seen.values():
        parts = name.removesuffix("/").split("/")
        for depth in range(1, len(parts) + name.endswith("/")):
            folder = "/".join(parts[:depth])
            if folder in checked:
                continue
            checked.add(folder)
            key = key_of(folder)
            if key in files:
                raise _refused(path, name, f"`{printable(folder)}` is a file")
            if spelt.setdefault(key, folder) != folder:
                raise _refused(path, name, f"its folder is spelt `{printable(spelt[key])}` elsewhere")


def _refuse_overlaps(members: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Refuse members that share bytes, as those of some bombs do, and such that no archive of this size can have."""
    end, size = 0, path.stat().st_size
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise _refused(path, member.filename, "it overlaps another member: a bomb")
        end = member.header_offset + 30 + len(member.orig_filename) + member.compress_size
        if end > size:
            raise _refused(path, member.filename, "it lies beyond the end of the archive")


def _refuse_large_directory(path: Path, limits: ArchiveLimits) -> None:
    """Refuse an archive whose list of members is too large to be read at once."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES))
        tail = file.read()
        end = tail.rfind(_END)
        if end < 0 or len(tail) - end < _END_BYTES:
            raise DataError(f"`{printable(path)}` is not a zip archive, or is truncated", hint="fetch it again")
        length = struct.unpack_from("<I", tail, end + 12)[0]
        end64 = tail.rfind(_END64, 0, end)
        if length == 0xFFFFFFFF and end64 >= 0 and len(tail) - end64 >= 56:
            length = struct.unpack_from("<Q", tail, end64 + 40)[0]
    if length > min(size, limits.max_directory_bytes):
        raise _refused(path, "", f"its list of members claims {length} bytes")


def _refuse_full_disk(path: Path, needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"archive `{printable(path)}` unpacks to {needed} bytes, but `{printable(folder)}` has {free} free",
            hint="free some space, or choose another place",
        )


def _refused(path: Path, member: str, reason: str) -> DataError:
    subject = f"archive `{printable(path)}`" + (f", member `{printable(member)[:200]}`" if member else "")
    return DataError(f"{subject}: {reason}", hint="nothing was unpacked; check where the archive comes from")


def merge_folder(source: Path, target: Path) -> None:
    """Move what is in `source` to `target`, all of it or nothing.

    Raises:
        DataError: another file already exists there, or a link is in the way.
    """
    moves = list(_moves(source, target))
    target.mkdir(parents=True, exist_ok=True)
    for entry, destination in moves:
        entry.rename(destination)


def _moves(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """What goes where; files that are there already, as a download that was broken off leaves them, stay."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DataError(f"`{printable(target)}` is in the way", hint="move it elsewhere")
    for entry in sorted(source.iterdir()):
        destination = target / entry.name
        if not os.path.lexists(destination):
            yield entry, destination
        elif entry.is_dir() and destination.is_dir():
            yield from _moves(entry, destination)
        elif not _is_same_file(entry, destination):
            raise DataError(f"`{printable(destination)}` already exists", hint="move it elsewhere; nothing is replaced")


def _is_same_file(entry: Path, destination: Path) -> bool:
    are_files = entry.is_file() and destination.is_file() and not destination.is_symlink()
    return are_files and filecmp.cmp(entry, destination, shallow=False)
