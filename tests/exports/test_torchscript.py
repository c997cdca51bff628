"""TorchScript files are programs: only those that this user's own exports wrote are opened."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from colours import colour_detector, images, plan_of
from torch import Tensor, nn

from onelook.errors import CheckpointError
from onelook.exports.quiet import quietly
from onelook.exports.torchscript import export_torchscript, make_tensors_on, open_torchscript
from onelook.inference.backend import TorchBackend
from onelook.models.decoding import Decoding, Rule, decoded

CPU = torch.device("cpu")


class Decoder(nn.Module):
    """Raw maps to boxes."""

    def __init__(self, decoding: Decoding) -> None:
        super().__init__()
        self.decoding = decoding

    def forward(self, *raw_maps: Tensor) -> Tensor:
        return decoded(raw_maps, self.decoding)


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


@pytest.mark.parametrize("rule", ["points", "distances"])
def test_a_file_written_on_the_cpu_runs_on_another_device(rule: Rule) -> None:
    """Shown by a device that has shapes and no numbers; it mixes with no other either."""
    decoder, meta = Decoder(Decoding(rule, (8.0, 16.0))), torch.device("meta")
    shapes, file = [(1, 1, side, side, 8) for side in (4, 2)], io.BytesIO()
    with quietly():
        torch.jit.save(torch.jit.trace(decoder, [torch.rand(shape) for shape in shapes]), file)  # type: ignore[no-untyped-call]
        program = torch.jit.load(io.BytesIO(file.getvalue()))  # type: ignore[no-untyped-call]
    make_tensors_on(meta, program)
    assert program(*(torch.empty(shape, device=meta) for shape in shapes)).device == meta


def test_files_of_others_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.torchscript"
    export_torchscript(plan_of(), path)
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache of another user"))
    with pytest.raises(CheckpointError, match="is a program that was not exported by you on this machine"):
        open_torchscript(path, CPU)


def test_a_changed_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.torchscript"
    export_torchscript(plan_of(), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="is a program"):
        open_torchscript(path, CPU)
