"""Run folders: numbering, exclusiveness, locks, and what cannot be written."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onelook.errors import RunFolderError
from onelook.runs.run_dir import RunDir, newest_run


def test_folders_are_numbered_from_two_and_reused_on_request(tmp_path: Path) -> None:
    names = [RunDir.create(tmp_path, "exp").path.name for _ in range(3)]
    assert names == ["exp", "exp2", "exp3"]
    assert RunDir.create(tmp_path, "exp", exist_ok=True).path.name == "exp"


def test_many_at_once_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: RunDir.create(tmp_path, "exp").path, range(80)))
    assert len(set(folders)) == 80


def test_a_folder_in_use_is_refused_and_a_dead_process_is_forgotten(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "exp")
    lock = run.path / ".lock"
    lock.write_text(json.dumps({"pid": 1, "host": os.uname().nodename}))
    with pytest.raises(RunFolderError, match="in use by process 1"), run.lock():
        pass
    lock.write_text(json.dumps({"pid": 2**22 + 5, "host": os.uname().nodename}))
    with run.lock():
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_a_place_that_cannot_be_written_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunDir.create(tmp_path / "file", "exp")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_parent_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunDir.create(tmp_path, "exp")


def test_the_newest_run_is_the_one_saved_last(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="nothing to resume"):
        newest_run(tmp_path)
    for number, name in enumerate(["b", "a"]):
        last = tmp_path / name / "weights" / "last.safetensors"
        last.parent.mkdir(parents=True)
        last.touch()
        os.utime(last, (number, number))
    assert newest_run(tmp_path).name == "a"
