"""Run folders: numbering, exclusiveness, locks, and what cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onelook.errors import RunFolderError, StopRequested
from onelook.runs import run_dir
from onelook.runs.checkpoint import save_checkpoint
from onelook.runs.newest_run import newest_run
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import RunStatus, new_run


def test_folders_are_numbered_from_two_and_reused_on_request(tmp_path: Path) -> None:
    names = [RunDir.create(tmp_path, "exp").path.name for _ in range(3)]
    assert names == ["exp", "exp2", "exp3"]
    assert RunDir.create(tmp_path, "exp", exist_ok=True).path.name == "exp"


def test_names_are_taken_up_to_the_number_that_the_error_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_dir, "MAX_NUMBER", 3)
    assert [RunDir.create(tmp_path, "exp").path.name for _ in range(3)] == ["exp", "exp2", "exp3"]
    with pytest.raises(RunFolderError, match="all names from `exp` to `exp3` are taken"):
        RunDir.create(tmp_path, "exp")


def test_many_at_once_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: RunDir.create(tmp_path, "exp").path, range(80)))
    assert len(set(folders)) == 80


HOLD = """
import sys, time
from pathlib import Path
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import new_run
run = RunDir(Path(sys.argv[1]))
with run.lock():
    run.begin(new_run())
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_in_use_is_refused_and_free_as_soon_as_its_holder_is_dead(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "exp")
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError, match=f"in use by process {holder.pid} on "), run.lock():
            pass
        holder.kill()
    assert run.record.state == "running", "it had no time to say that it ends"
    with run.lock():
        run.begin(new_run())
    assert run.record.pid == os.getpid()


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"pid": 1, "host": os.uname().nodename}),
        json.dumps({"pid": 2, "host": "another-container"}),
        '{"pid": ' + "9" * 5000 + "}",
        "[" * 100_000,
        "\0garbage",
    ],
)
def test_what_a_lock_or_a_record_holds_blocks_nothing(content: str, tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "exp")
    for path in (run.lock_file, run.status):
        path.write_text(content)
    with run.lock():
        assert run.record.state == ""
        run.begin(new_run())


def test_a_pipe_instead_of_lock_or_record_blocks_nothing(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "exp")
    for path in (run.lock_file, run.status):
        os.mkfifo(path)
    with run.lock():
        run.begin(new_run())
    assert run.record.run_id


def test_a_record_that_cannot_be_is_no_record(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "exp")
    run.status.write_text(json.dumps({"state": 7, "turn": 1 << 70, "pid": True, "run_id": ["a"], "exit_code": "x"}))
    assert run.record == RunStatus()


def test_a_place_that_cannot_be_written_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunDir.create(tmp_path / "file", "exp")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_parent_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunDir.create(tmp_path, "exp")


def saved_run(folder: Path, state: str, *, at: float) -> RunDir:
    """A run folder with a checkpoint and a record, as a process at time `at` would have left them."""
    run = RunDir.create(folder.parent, folder.name)
    identity = new_run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time_ns", lambda: int(at * 1e9))
        run.begin(identity)
    run.write_status(state)
    run.weights.mkdir()
    save_checkpoint(run.last, {}, {"run": {"id": identity.run_id}})
    return run


@pytest.mark.parametrize(
    ("problem", "state", "exit_code", "message"),
    [
        (RunFolderError("no space"), "failed", RunFolderError.exit_code, "no space"),
        (StopRequested("stopped"), "stopped", 75, "stopped"),
        (KeyboardInterrupt(), "stopped", 130, "interrupted"),
        (MemoryError(), "failed", 71, "not enough memory"),
        (OSError(28, "No space left on device", "last"), "failed", 74, "`last`: No space left on device"),
        (IndexError("of a library"), "failed", 70, "IndexError: of a library"),
    ],
)
def test_whatever_ends_a_run_is_in_its_record(
    problem: BaseException, state: str, exit_code: int, message: str, tmp_path: Path
) -> None:
    run = RunDir.create(tmp_path, "exp")
    run.begin(new_run())
    with pytest.raises(type(problem)), run.end_recorded():
        raise problem
    record = run.record
    assert (record.state, record.exit_code) == (state, exit_code)
    assert record.message.endswith(message)


@pytest.mark.parametrize(
    ("states", "newest"),
    [
        (("stopped", "running", "finished"), "second"),
        (("failed", "finished", "finished"), "first"),
        (("finished", "finished", "finished"), "third"),
    ],
)
def test_the_newest_run_is_the_newest_interrupted_one_whatever_clocks_and_files_say(
    states: tuple[str, ...], newest: str, tmp_path: Path
) -> None:
    with pytest.raises(RunFolderError, match="nothing to resume"):
        newest_run(tmp_path)
    for place, (name, state) in enumerate(zip(("first", "second", "third"), states, strict=True)):
        run = saved_run(tmp_path / name, state, at=2e9 - 1e8 * place)  # the clock is set back again and again
        os.utime(run.last, (2e9 - place, 2e9 - place))
    assert newest_run(tmp_path).name == newest


def test_a_run_without_a_checkpoint_of_its_own_is_not_the_newest(tmp_path: Path) -> None:
    saved_run(tmp_path / "old", "finished", at=1e9)
    reused = saved_run(tmp_path / "reused", "finished", at=1e9)
    reused.begin(new_run())
    assert newest_run(tmp_path).name == "old"


def test_a_run_of_an_older_version_is_dated_by_its_files(tmp_path: Path) -> None:
    for number, name in enumerate(["b", "a"]):
        last = tmp_path / name / "weights" / "last.safetensors"
        last.parent.mkdir(parents=True)
        save_checkpoint(last, {}, {})
        os.utime(last, (number, number))
    assert newest_run(tmp_path).name == "a"
