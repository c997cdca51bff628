"""Processes of this machine, and folders that cannot be flushed."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from onelook.files.atomic import write_bytes_atomic
from onelook.files.running import is_running

ABOVE_ALL_PIDS = 1 << 30


def test_a_process_is_running_or_not() -> None:
    assert is_running(os.getpid()) and is_running(1)
    assert not is_running(ABOVE_ALL_PIDS)


@pytest.mark.parametrize(
    ("number", "is_written"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EACCES, True), (errno.EIO, False)]
)
def test_a_file_is_written_where_its_folder_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_written: bool
) -> None:
    flush = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    if is_written:
        write_bytes_atomic(tmp_path / "file", b"content")
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            write_bytes_atomic(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
