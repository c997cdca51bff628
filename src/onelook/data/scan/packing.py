"""Packs the chunks of a scan into arrays and a ledger, and these into the arrays of the cache and back."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import RowProblem, batch_of
from onelook.data.formats.label_source import LabelSource
from onelook.data.scan.files import ScanChunk
from onelook.data.scan.ledger import Ledger, LedgerEntry, ledger_from
from onelook.data.scan.ledger_count import counts_of, entries_of, ledger_of
from onelook.files.fault_kinds import Remark
from onelook.files.image_headers import MAX_PIXELS
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.packed_texts import PackedTexts, joined_texts

Arrays = Mapping[str, npt.NDArray[Any]]

_INDEX_FIELDS = ("sizes_hw", "offsets", "class_ids", "boxes", "polygon_offsets", "polygon_points")


@dataclass(frozen=True)
class ScanContent:
    """What a scan knows: the index, the ledger, and the content of the images as digests.

    Attributes:
        image_digests: (N, 16) one per usable image; equal for equal files.
        is_kept: (M,) of all M images listed, which are in the index.
    """

    index: DatasetIndex
    ledger: Ledger
    image_digests: npt.NDArray[np.uint8]
    is_kept: npt.NDArray[np.bool_]


def pack(source: LabelSource, chunks: Iterable[ScanChunk], *, split: str, root: Path) -> ScanContent:
    """The index of the usable images, and the ledger of all."""
    counts: Counter[str] = Counter()
    entries: list[LedgerEntry] = []
    sizes_hw, labels, lengths = [np.zeros((0, 2), np.int32)], [batch_of([])], [np.zeros(0, np.int64)]
    is_kept = np.zeros(len(source.images), bool)
    image_digests = np.zeros((len(source.images), 16), np.uint8)
    for chunk in chunks:
        problems = problems_of(chunk)
        is_used = np.ones(len(chunk), bool)
        is_used[list(problems)] = False
        counts.update(counts_of(chunk, is_used))
        entries += entries_of(source, chunk, problems)
        place = slice(chunk.start, chunk.start + len(chunk))
        image_digests[place], is_kept[place] = chunk.image_digests, is_used
        sizes_hw.append(chunk.sizes_hw[is_used])
        labels.append(chunk.labels)
        lengths.append(chunk.labels.lengths[is_used])  # the others have no rows
    arrays: dict[str, npt.NDArray[Any]] = {
        "sizes_hw": np.concatenate(sizes_hw),
        "offsets": offsets_of(np.concatenate(lengths)),
        "class_ids": np.concatenate([batch.class_ids for batch in labels]),
        "boxes": np.concatenate([batch.boxes for batch in labels]),
        "polygon_offsets": offsets_of(np.concatenate([batch.polygon_lengths for batch in labels])),
        "polygon_points": np.concatenate([batch.polygon_points for batch in labels]),
    }
    paths = PackedTexts(path for path, keep in zip(source.images, is_kept.tolist(), strict=True) if keep)
    called = [name for name, keep in zip(source.names or source.images, is_kept.tolist(), strict=True) if keep]
    index = DatasetIndex(paths=paths, fingerprint=_fingerprint(called, root, arrays), max_pixels=MAX_PIXELS, **arrays)
    return ScanContent(index, ledger_of(source, split, counts, entries), image_digests[is_kept], is_kept)


def to_arrays(content: ScanContent) -> dict[str, npt.NDArray[Any]]:
    """Everything as arrays, except the paths, which the reader knows."""
    arrays = {name: getattr(content.index, name) for name in _INDEX_FIELDS}
    texts = {"fingerprint": content.index.fingerprint, "ledger": content.ledger.to_json()}
    return {
        **arrays,
        **{name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()},
        "is_kept": content.is_kept,
        "image_digests": content.image_digests,
    }


def from_arrays(arrays: Arrays, images: Sequence[str]) -> ScanContent:
    """What `to_arrays` was given.

    Raises:
        ValueError, KeyError, TypeError: the arrays are not of one scan of these images.
    """
    is_kept, image_digests = arrays["is_kept"], arrays["image_digests"]
    if is_kept.shape != (len(images),) or image_digests.shape != (is_kept.sum(), 16):
        raise ValueError("another number of images")
    paths = PackedTexts(image for image, keep in zip(images, is_kept.tolist(), strict=True) if keep)
    index = DatasetIndex(
        paths=paths,
        fingerprint=arrays["fingerprint"].tobytes().decode(),
        max_pixels=MAX_PIXELS,
        **{name: arrays[name] for name in _INDEX_FIELDS},
    )
    _require_order(index.offsets, len(paths), len(index.class_ids))
    _require_order(index.polygon_offsets, len(index.class_ids), len(index.polygon_points))
    if index.boxes.shape != (len(index.class_ids), 4) or index.sizes_hw.shape != (len(paths), 2):
        raise ValueError("arrays of different lengths")
    ledger = ledger_from(json.loads(arrays["ledger"].tobytes()))
    return ScanContent(index, ledger, image_digests, is_kept)


def problems_of(chunk: ScanChunk) -> dict[int, Remark]:
    """Why images are left out, by their number in the chunk.

    An image whose label rows were all refused is not background: it shows objects that have no label.
    """
    is_void = (chunk.labels.rows_read > 0) & (chunk.labels.lengths == 0)
    void = {place: _void(chunk.labels.problems.get(place, ())) for place in np.flatnonzero(is_void).tolist()}
    return {**void, **chunk.image_problems}


def _void(problems: Sequence[RowProblem]) -> Remark:
    told = "none of its label rows can be used"
    first = next((problem for problem in problems if problem.outcome == "refused"), None)
    if first is None:
        return Remark(told)
    place = f" in line {first.line}" if first.line else f" in {first.place}" if first.place else ""
    value = f" (`{first.value}`)" if first.value else ""
    return Remark(f"{told}, the first{place}: {first.reason}{value}")


def offsets_of(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each of N parts of these lengths begins, and where the last ends, (N + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _require_order(offsets: npt.NDArray[np.int64], num_parts: int, end: int) -> None:
    if offsets.shape != (num_parts + 1,) or offsets[0] != 0 or offsets[-1] != end or (np.diff(offsets) < 0).any():
        raise ValueError("offsets that do not fit")


def _fingerprint(paths: Sequence[str], root: Path, arrays: Arrays) -> str:
    """Hex digest of names below the root, sizes and labels: a dataset that moves as a whole keeps it."""
    digest = hashlib.sha256()
    prefix = f"{root}{os.sep}"
    for block in joined_texts([path.removeprefix(prefix) for path in paths]):
        digest.update(block)
    for name in _INDEX_FIELDS:
        digest.update(f"\0{name}\0".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
