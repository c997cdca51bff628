"""Bytes of an archive become the numbers that torch reads from them, or a refusal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from zips import FOLDER, torch_archive

from onelook.errors import CheckpointError
from onelook.interop.pickle_machine import read_pickle
from onelook.interop.records import StorageRecord, TensorRecord
from onelook.interop.stored_tensors import StoredTensors
from onelook.interop.zip_members import open_members

HALVES = torch.arange(8, dtype=torch.float16)


def load(path: Path, record: TensorRecord, content: bytes) -> torch.Tensor:
    path.write_bytes(torch_archive(b"", {"0": content}))
    with open_members(path) as members:
        return StoredTensors(members, f"{FOLDER}/").load("w", record)


def view(
    size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, count: int = 8, kind: str = "Half"
) -> TensorRecord:
    return TensorRecord(StorageRecord(f"torch.{kind}Storage", "0", count), offset, size, stride)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24.0).view(2, 3, 4).half(),
        torch.arange(24.0).view(2, 3, 4).transpose(0, 2)[1:, :, 1],
        torch.arange(16.0).view(1, 4, 2, 2).to(memory_format=torch.channels_last),
        torch.tensor([1.5, -2.5], dtype=torch.bfloat16),
        torch.tensor(3.0, dtype=torch.float64),
        torch.tensor([2**40, -1]),
        torch.tensor([7], dtype=torch.int32),
        torch.zeros(0, 3),
        torch.zeros(0, 3, dtype=torch.int64),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)}",
)
def test_numbers_are_those_that_torch_wrote(tensor: torch.Tensor, tmp_path: Path) -> None:
    file = io.BytesIO()
    torch.save({"w": tensor}, file)
    path = tmp_path / "w.pt"
    path.write_bytes(file.getvalue())
    with open_members(path) as members:
        folder = next(name for name in members.names if name.endswith("data.pkl")).removesuffix("data.pkl")
        record = read_pickle(members.read(f"{folder}data.pkl", 1 << 16))["w"]
        read = StoredTensors(members, folder).load("w", record)
    expected = tensor.float() if tensor.is_floating_point() else tensor.long()
    assert torch.equal(read, expected) and read.is_contiguous() and read.dtype == expected.dtype


@pytest.mark.parametrize(
    ("record", "content", "says"),
    [
        (view((8,), (1,)), HALVES[:7].numpy().tobytes(), "has 14 bytes for 8 elements of float16"),
        (view((8,), (1,)), HALVES.numpy().tobytes() * 2, "has 32 bytes for 8 elements of float16"),
        (view((8,), (1,), count=2**40), HALVES.numpy().tobytes(), f"has 16 bytes for {2**40} elements"),
        (view((9,), (0,)), HALVES.numpy().tobytes(), "tensor `w` has more elements than storage `0` can fill"),
        (view((2,), (1,), kind="Bool"), bytes(8), "tensor `w` is of the type `torch.BoolStorage`"),
        (view((2,), (1,), kind="ComplexFloat"), bytes(64), "tensor `w` is of the type `torch.ComplexFloatStorage`"),
        (view((2,), (1,)), b"\0\x7c" * 8, "tensor `w` has 2 numbers that are not finite"),
        (view((1,), (1,), count=1, kind="Double"), b"\0\0\0\0\0\0\xf0\x7e", "1 numbers that are not finite"),
        (TensorRecord(StorageRecord("torch.HalfStorage", "7", 1), 0, (1,), (1,)), b"", "data/7` is missing"),
    ],
)  # fmt: skip
def test_what_the_archive_does_not_hold_is_refused(
    record: TensorRecord, content: bytes, says: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "w.pt", record, content)
    assert says in caught.value.message


def test_overlapping_views_within_a_storage_are_read(tmp_path: Path) -> None:
    read = load(tmp_path / "w.pt", view((2, 3), (1, 2), offset=1), HALVES.numpy().tobytes())
    assert read.tolist() == [[1, 3, 5], [2, 4, 6]]
