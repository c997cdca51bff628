"""What a foreign pickle becomes here: inert records that keep names, arguments and state, and can do nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from onelook.errors import CheckpointError
from onelook.files.bounded import printable

MAX_DIMENSIONS = 8
MAX_ELEMENTS = 1 << 40


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class, a function or a type, as the file spells it; never looked up."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """Both joined by a dot."""
        return f"{self.module}.{self.name}"

    def __str__(self) -> str:
        return printable(f"{self.module}.{self.name}"[:200])


@dataclass(eq=False, slots=True)
class Record:
    """An object of a class that is only known by name.

    Attributes:
        args: what its constructor would have been given.
        state: what its attributes would have been made from; None if the file gives none.
    """

    kind: Global
    args: tuple[Any, ...]
    state: Any = None

    def attribute(self, name: str) -> Any:
        """The attribute `name`; None if there is none."""
        return self.state.get(name) if isinstance(self.state, dict) else None


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """A run of numbers that lies in a member of the archive.

    Attributes:
        kind: name of the type, such as `torch.HalfStorage`.
        key: name of the member below `data/`.
        count: elements.
    """

    kind: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A view of a storage that lies within it; counted in elements. Its own elements may overlap.

    Attributes:
        storage: where the numbers are.
        offset: index of the first element.
        size, stride: per dimension.
    """

    storage: StorageRecord
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        return math.prod(self.size)


def storage_record(persistent_id: Any) -> StorageRecord:
    """The storage that a persistent id names.

    Raises:
        CheckpointError: it names something else; the message does not say where.
    """
    if not isinstance(persistent_id, tuple) or len(persistent_id) != 5 or persistent_id[0] != "storage":
        raise CheckpointError(f"a persistent id is {described(persistent_id)} instead of a storage")
    _, kind, key, device, count = persistent_id
    texts = isinstance(kind, Global) and isinstance(key, str) and isinstance(device, str)
    if not texts or not key.isascii() or not key.isdigit() or len(key) > 9:
        raise CheckpointError(f"a storage has the key {described(key)} and the type {described(kind)}")
    if not _is_count(count):
        raise CheckpointError(f"storage `{key}` claims {described(count)} elements")
    return StorageRecord(kind.path, key, count)


def tensor_record(args: tuple[Any, ...]) -> TensorRecord:
    """The tensor that the arguments (storage, offset, size, stride, ...) describe.

    Raises:
        CheckpointError: it would reach outside its storage; the message does not say where.
    """
    if not 6 <= len(args) <= 7 or not isinstance(args[0], StorageRecord):
        raise CheckpointError(f"a tensor is described by {len(args)} arguments that are not those of a tensor")
    storage, offset, size, stride = args[:4]
    is_shape = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= MAX_DIMENSIONS
    if not is_shape or not all(map(_is_count, (offset, *size, *stride))):
        raise CheckpointError(
            f"a tensor of storage `{storage.key}` has the offset {described(offset)}, "
            f"the size {described(size)} and the stride {described(stride)}"
        )
    reach = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1
    if 0 not in size and reach > storage.count:
        raise CheckpointError(
            f"a tensor that ends at element {reach} does not fit into storage `{storage.key}` of {storage.count}"
        )
    return TensorRecord(storage, offset, size, stride)


def described(value: Any) -> str:
    """A few words on a value, for messages; never long, whatever the value is."""
    if isinstance(value, Global):
        return f"`{value}`"
    if isinstance(value, Record):
        return f"an object of `{value.kind}`"
    if isinstance(value, str):
        return f"`{printable(value[:60])}`"
    if value is None or isinstance(value, bool | int | float):
        return f"`{value}`"
    if isinstance(value, tuple) and len(value) <= MAX_DIMENSIONS and all(type(item) is int for item in value):
        return f"`{value}`"
    return f"a {type(value).__name__}"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_ELEMENTS
