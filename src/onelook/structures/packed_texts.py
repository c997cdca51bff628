"""Many texts in two arrays, which processes that are forked share for good.

A list of texts is copied page by page as soon as its texts are read: reading changes their counts of references.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

_TEXTS_IN_BLOCK = 4096


class PackedTexts(Sequence[str]):
    """A sequence of N texts, file names that are no UTF-8 included; equal to any sequence of the same texts.

    >>> texts = PackedTexts(["a.jpg", "b/c.jpg"])
    >>> len(texts), texts[1], list(texts[:1]), texts == ("a.jpg", "b/c.jpg")
    (2, 'b/c.jpg', ['a.jpg'], True)
    """

    def __init__(self, texts: Iterable[str]) -> None:
        parts = [os.fsencode(text) for text in texts]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        self._ends: npt.NDArray[np.int64] = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        self._bytes: npt.NDArray[np.uint8] = np.frombuffer(b"".join(parts), np.uint8)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self._text(number) for number in range(*index.indices(len(self))))
        return self._text(range(len(self))[index])

    def __iter__(self) -> Iterator[str]:
        return map(self._text, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PackedTexts of {len(self)}"

    def _text(self, number: int) -> str:
        return os.fsdecode(self._bytes[self._ends[number] : self._ends[number + 1]].tobytes())


def joined_texts(texts: Sequence[str]) -> Iterator[bytes]:
    """The bytes of all texts with a NUL between each two, in blocks: a million texts at once take much memory.

    >>> b"".join(joined_texts(["a", "b", ""]))
    b'a\x00b\x00'
    """
    for start in range(0, len(texts), _TEXTS_IN_BLOCK):
        yield os.fsencode(("\0" if start else "") + "\0".join(texts[start : start + _TEXTS_IN_BLOCK]))
