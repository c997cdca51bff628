"""Tests that run in forked processes: each once, whatever one does to its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import forked_workers
import pytest

TESTS = """
import os, signal, warnings
import pytest

@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    with open(os.environ["LOG"], "a") as log:
        log.write("made\\n")
    yield tmp_path_factory.getbasetemp()
    print("taken down", os.getpid())

@pytest.mark.parametrize("number", range(8))
def test_of_many(number, kept, capfd):
    os.system("echo from below")
    assert capfd.readouterr().out == "from below\\n"

def test_that_ends_its_process(kept):
    os.kill(os.getpid(), signal.SIGKILL)

def test_after_it(kept):
    warnings.warn("it was dark")

def test_that_fails(kept):
    print("what it wrote")
    assert kept == 3

def test_that_is_skipped():
    pytest.skip("no reason")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they run in one process")
def test_every_test_is_run_once_whatever_happens_to_its_process(tmp_path: Path) -> None:
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(TESTS)
    where = {
        **os.environ,
        "COLUMNS": "120",
        "LOG": str(tmp_path / "log"),
        "PYTHONPATH": str(Path(forked_workers.__file__).parent),
    }
    command = [sys.executable, "-m", "pytest", "-p", "forked_workers", "-q", "-rA", "-p", "no:cacheprovider"]
    run = subprocess.run([*command, "--forks", "3"], cwd=tmp_path, env=where, capture_output=True, text=True)
    assert run.returncode == 1
    lines = run.stdout.splitlines()
    assert lines[-1].startswith("4 failed, 18 passed, 2 skipped, 2 warnings"), run.stdout
    for name in ("test_one.py", "test_two.py"):
        assert f"FAILED {name}::test_that_ends_its_process - the process of this test ended with -9" in lines
        passed = [line.partition("::")[2] for line in lines if line.startswith(f"PASSED {name}")]
        assert sorted(passed) == ["test_after_it", *(f"test_of_many[{number}]" for number in range(8))]
    assert lines.count("what it wrote") == 2 and run.stdout.count("UserWarning: it was dark") == 2
    assert 4 <= (tmp_path / "log").read_text().count("made") <= 8, "by each process that has tests of the file"
    run = subprocess.run([*command, "--forks", "2", "-x"], cwd=tmp_path, env=where, capture_output=True, text=True)
    assert "stopping after " in run.stdout and " 18 passed" not in run.stdout
