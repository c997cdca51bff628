"""Tensors of an archive: the bytes of a member, in the shape that its pickle gives, copied into memory of their own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onelook.errors import CheckpointError
from onelook.files.bounded import printable
from onelook.interop.records import TensorRecord
from onelook.interop.zip_members import ZipMembers

DTYPES: dict[str, torch.dtype] = {
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
}


@dataclass(frozen=True)
class StoredTensors:
    """Where the numbers of an archive are: its members, and the part of their names before `data/`, with its slash."""

    members: ZipMembers
    folder: str

    def load(self, name: str, record: TensorRecord) -> Tensor:
        """The numbers of a tensor: float32 or int64, contiguous, its own memory.

        Raises:
            CheckpointError: the archive does not hold what the record says, or numbers that are not finite.
        """
        storage = record.storage
        dtype = dtype_of(name, record)
        member = f"{self.folder}data/{storage.key}"
        if self.members.size(member) != storage.count * dtype.itemsize:
            raise CheckpointError(
                f"member `{printable(member)}` has {self.members.size(member)} bytes for {storage.count} elements of "
                f"{str(dtype).removeprefix('torch.')}"
            )
        if record.num_elements > storage.count:
            raise CheckpointError(f"tensor `{printable(name)}` has more elements than storage `{storage.key}` can fill")
        tensor = torch.empty(record.size, dtype=torch.float32 if dtype.is_floating_point else torch.int64)
        if record.num_elements == 0:
            return tensor
        data = self.members.read(member, storage.count * dtype.itemsize)
        flat = torch.frombuffer(data, dtype=dtype)
        tensor.copy_(flat.as_strided(record.size, record.stride, record.offset))
        if not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f"tensor `{printable(name)}` has {bad} numbers that are not finite",
                hint="the run that wrote it has diverged: take an earlier checkpoint",
            )
        return tensor


def dtype_of(name: str, record: TensorRecord) -> torch.dtype:
    """The type in which a tensor is stored.

    Raises:
        CheckpointError: none that a detector has.
    """
    dtype = DTYPES.get(record.storage.kind)
    if dtype is None:
        raise CheckpointError(f"tensor `{printable(name)}` is of the type `{printable(record.storage.kind[:80])}`")
    return dtype
