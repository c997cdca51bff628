"""From the reports on many files to packed arrays and the ledger, and to and from the arrays of the cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource
from onelook.data.ledger import Ledger, ledger_from_json
from onelook.data.scan_files import PairReport
from onelook.data.scan_ledger import LedgerCount
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.packed_texts import PackedTexts

Arrays = Mapping[str, npt.NDArray[Any]]

_INDEX_FIELDS = ("sizes_hw", "offsets", "class_ids", "boxes", "polygon_offsets", "polygon_points")


@dataclass(frozen=True)
class ScanContent:
    """What a scan knows: the index, the ledger, and the content of the files as hashes.

    Attributes:
        index: the usable images.
        ledger: what became of all.
        image_digests: (N, 16) one per usable image; equal for equal files.
        is_kept: (M,) of all M images listed, which are in the index.
        contents: (M, 32) image and label file of all images listed.
    """

    index: DatasetIndex
    ledger: Ledger
    image_digests: npt.NDArray[np.uint8]
    is_kept: npt.NDArray[np.bool_]
    contents: npt.NDArray[np.uint8]


def pack(source: LabelSource, reports: Iterable[PairReport], *, split: str, root: Path) -> ScanContent:
    """The usable images in arrays, and the account of all."""
    count = LedgerCount(split, source)
    columns = _Columns()
    is_kept = np.zeros(len(source.images), bool)
    contents = bytearray()
    for number, report in enumerate(reports):
        problem = problem_of(report)
        count.add(number, report, problem)
        contents += report.content
        is_kept[number] = problem is None
        if problem is None:
            columns.add(report)
    arrays = columns.arrays()
    paths = PackedTexts(path for path, keep in zip(source.images, is_kept.tolist(), strict=True) if keep)
    called = (
        [name for name, keep in zip(source.names, is_kept.tolist(), strict=True) if keep] if source.names else paths
    )
    index = DatasetIndex(paths=paths, fingerprint=_fingerprint(called, root, arrays), **arrays)
    hashes = np.frombuffer(bytes(contents), np.uint8).reshape(-1, 32)
    return ScanContent(index, count.ledger(), hashes[is_kept, :16], is_kept, hashes)


def to_arrays(content: ScanContent) -> dict[str, npt.NDArray[Any]]:
    """All of it but the paths, which the reader knows, as arrays."""
    arrays = {name: getattr(content.index, name) for name in _INDEX_FIELDS}
    texts = {"fingerprint": content.index.fingerprint, "ledger": content.ledger.to_json()}
    return {
        **arrays,
        **{name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()},
        "is_kept": content.is_kept,
        "contents": content.contents,
    }


def from_arrays(arrays: Arrays, images: Sequence[str]) -> ScanContent:
    """What `to_arrays` was given.

    Raises:
        ValueError, KeyError, TypeError: the arrays are not of one scan of these images.
    """
    is_kept, contents = arrays["is_kept"], arrays["contents"]
    if is_kept.shape != (len(images),) or contents.shape != (len(images), 32):
        raise ValueError("another number of images")
    paths = PackedTexts(image for image, keep in zip(images, is_kept.tolist(), strict=True) if keep)
    index = DatasetIndex(
        paths=paths,
        fingerprint=arrays["fingerprint"].tobytes().decode(),
        **{name: arrays[name] for name in _INDEX_FIELDS},
    )
    _require_order(index.offsets, len(paths), len(index.class_ids))
    _require_order(index.polygon_offsets, len(index.class_ids), len(index.polygon_points))
    if index.boxes.shape != (len(index.class_ids), 4) or index.sizes_hw.shape != (len(paths), 2):
        raise ValueError("arrays of different lengths")
    ledger = ledger_from_json(arrays["ledger"].tobytes().decode())
    return ScanContent(index, ledger, contents[is_kept, :16], is_kept, contents)


def problem_of(report: PairReport) -> str | None:
    """Why an image is left out; None if it is used.

    An image whose label rows were all refused shows objects that nobody could tell the model about: not background.
    """
    if report.image.problem is not None:
        return report.image.problem
    if report.labels is not None and report.labels.rows_read and not len(report.labels):
        return "none of its label rows can be used"
    return None


class _Columns:
    """Sizes and labels of the images that are used, joined every few thousand images: small arrays cost much memory."""

    def __init__(self) -> None:
        self._waiting: list[PairReport] = []
        self._sizes: list[npt.NDArray[np.int32]] = [np.zeros((0, 2), np.int32)]
        self._counts: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
        self._rows: list[LabelRows] = [_NO_ROWS]

    def add(self, report: PairReport) -> None:
        self._waiting.append(report)
        if len(self._waiting) == _IMAGES_PER_PIECE:
            self._join()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        self._join()
        rows = _joined(self._rows)
        return {
            "sizes_hw": np.concatenate(self._sizes),
            "offsets": _ends(np.concatenate(self._counts)),
            "class_ids": rows.class_ids,
            "boxes": rows.boxes,
            "polygon_offsets": _ends(rows.polygon_lengths),
            "polygon_points": rows.polygon_points,
        }

    def _join(self) -> None:
        labels = [report.labels if report.labels is not None else _NO_ROWS for report in self._waiting]
        self._sizes.append(np.array([report.image.size_hw for report in self._waiting], np.int32).reshape(-1, 2))
        self._counts.append(np.array([len(rows) for rows in labels], np.int64))
        self._rows.append(_joined([_NO_ROWS, *labels]))
        self._waiting.clear()


_IMAGES_PER_PIECE = 4096
_NO_ROWS = LabelRows(
    np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros((0, 2), np.float32), 0
)


def _joined(parts: Sequence[LabelRows]) -> LabelRows:
    return LabelRows(
        np.concatenate([rows.class_ids for rows in parts]),
        np.concatenate([rows.boxes for rows in parts]),
        np.concatenate([rows.polygon_lengths for rows in parts]),
        np.concatenate([rows.polygon_points for rows in parts]),
        rows_read=sum(rows.rows_read for rows in parts),
    )


def _ends(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _require_order(offsets: npt.NDArray[np.int64], num_parts: int, end: int) -> None:
    if offsets.shape != (num_parts + 1,) or offsets[0] != 0 or offsets[-1] != end or (np.diff(offsets) < 0).any():
        raise ValueError("offsets that do not fit")


def _fingerprint(paths: Sequence[str], root: Path, arrays: Arrays) -> str:
    """Hex digest of names below the root, sizes and labels: a data set that moves as a whole keeps it."""
    digest = hashlib.sha256()
    prefix = f"{root}{os.sep}"
    digest.update(b"\0".join(os.fsencode(path.removeprefix(prefix)) for path in paths))
    for name in _INDEX_FIELDS:
        digest.update(f"\0{name}\0".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
