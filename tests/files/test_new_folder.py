"""Folders that appear whole or not at all, and numbers in JSON that any program can read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onelook.files.atomic import new_folder, write_json_atomic


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "new") as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "deep" / "new").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["new"]
    assert (tmp_path / "deep" / "new" / "file").read_text() == "x"


def test_of_a_folder_that_is_not_finished_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), new_folder(tmp_path / "new") as folder:
        (folder / "file").write_text("x")
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "old").write_text("old")
    with pytest.raises(OSError), new_folder(tmp_path / "taken") as folder:
        (folder / "file").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "old"]


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "a.json", {"map50": float("nan"), "ap": [np.float64(0.5), np.inf], "at": tmp_path})
    assert json.loads((tmp_path / "a.json").read_text()) == {"map50": None, "ap": [0.5, None], "at": str(tmp_path)}
