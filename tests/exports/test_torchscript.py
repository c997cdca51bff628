"""TorchScript files are programs: only those that this user's own exports wrote are opened."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from colours import colour_detector, images, plan_of

from onelook.errors import CheckpointError
from onelook.exports.torchscript import export_torchscript, open_torchscript
from onelook.inference.backend import TorchBackend

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))


def test_own_files_run_at_any_size(tmp_path: Path) -> None:
    path = tmp_path / "x.torchscript"
    export_torchscript(plan_of(), path)
    backend = open_torchscript(path, CPU)
    for shape in ((1, 64, 64), (3, 32, 96)):
        expected = TorchBackend(colour_detector()).predict(images(*shape))
        torch.testing.assert_close(backend.predict(images(*shape)), expected, atol=1e-4, rtol=1e-4)


def test_files_of_others_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.torchscript"
    export_torchscript(plan_of(), path)
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache of another user"))
    with pytest.raises(CheckpointError, match="is a program, and no export of yours on this machine wrote it"):
        open_torchscript(path, CPU)


def test_a_changed_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.torchscript"
    export_torchscript(plan_of(), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="is a program"):
        open_torchscript(path, CPU)
