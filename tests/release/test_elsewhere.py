"""Nothing needs what only POSIX or only Linux has: shown by hiding it, since the tests run on Linux alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.mark.slow
def test_all_commands_work_without_what_only_posix_and_linux_have(
    tiny_data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    words = [sys.executable, SUPPORT / "elsewhere.py", tiny_data, tiny_model, tmp_path]
    ended = subprocess.run(
        words, capture_output=True, text=True, cwd=tmp_path, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    stopped, whole = ((tmp_path / name / "results.csv").read_bytes() for name in ("stopped", "whole"))
    assert stopped == whole and len(whole.splitlines()) == 3
    assert len(list((tmp_path / "detect").rglob("*.jpg"))) == 4
