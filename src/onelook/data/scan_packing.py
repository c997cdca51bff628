"""From the reports on many files to packed arrays and the ledger, and to and from the arrays of the cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import LabelRows
from onelook.data.ledger import Ledger, LedgerEntry, ledger_from_json
from onelook.data.scan_files import FilePair, PairReport
from onelook.files.bounded import printable
from onelook.structures.dataset_index import DatasetIndex

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


def pack(pairs: Sequence[FilePair], reports: Sequence[PairReport], *, split: str, root: Path) -> ScanContent:
    """The usable images in arrays, and the account of all."""
    problems = [problem_of(report) for report in reports]
    is_kept = np.array([problem is None for problem in problems], bool)
    kept = [report for report, problem in zip(reports, problems, strict=True) if problem is None]
    labels = [report.labels if report.labels is not None else _NO_ROWS for report in kept]
    polygon_lengths = np.concatenate([np.zeros(0, np.int64), *(rows.polygon_lengths for rows in labels)])
    arrays: dict[str, npt.NDArray[Any]] = {
        "sizes_hw": np.array([report.image.size_hw for report in kept], np.int32).reshape(-1, 2),
        "offsets": _ends([len(rows) for rows in labels]),
        "class_ids": np.concatenate([_NO_ROWS.class_ids, *(rows.class_ids for rows in labels)]),
        "boxes": np.concatenate([_NO_ROWS.boxes, *(rows.boxes for rows in labels)]),
        "polygon_offsets": _ends(polygon_lengths),
        "polygon_points": np.concatenate([_NO_ROWS.polygon_points, *(rows.polygon_points for rows in labels)]),
    }
    contents = np.frombuffer(b"".join(report.content for report in reports), np.uint8).reshape(-1, 32)
    paths = tuple(pair.image for pair, keep in zip(pairs, is_kept.tolist(), strict=True) if keep)
    index = DatasetIndex(paths=paths, fingerprint=_fingerprint(paths, root, arrays), **arrays)
    return ScanContent(index, _ledger(split, pairs, reports, problems), contents[is_kept, :16], is_kept, contents)


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
    paths = tuple(image for image, keep in zip(images, is_kept.tolist(), strict=True) if keep)
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


_NO_ROWS = LabelRows(
    np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros((0, 2), np.float32), 0
)


def _ends(lengths: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
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


def _ledger(
    split: str, pairs: Sequence[FilePair], reports: Sequence[PairReport], problems: Sequence[str | None]
) -> Ledger:
    rows = {"read": 0, "used": 0, "clipped": 0, "deduplicated": 0, "refused": 0}
    images = {"found": 0, "missing": 0, "empty": 0, "unusable": 0}
    entries: list[LedgerEntry] = []
    for pair, report, problem in zip(pairs, reports, problems, strict=True):
        images[_state_of(report, problem)] += 1
        if problem is not None:
            entries.append(LedgerEntry(printable(pair.image), 0, "", problem, "unusable image", rows=0))
        elif report.image.note is not None:
            entries.append(LedgerEntry(printable(pair.image), 0, "", report.image.note, "note", rows=0))
        if report.labels is None:
            continue
        told = list(_row_entries(pair, report, report.labels))
        entries += told
        rows["read"] += report.labels.rows_read
        for entry in told:
            rows["refused" if entry.outcome == "unknown class" else entry.outcome] += entry.rows
        rows["used"] += len(report.labels) if problem is None else 0
    return Ledger(
        split=split,
        images_found=images["found"],
        images_missing=images["missing"],
        images_empty=images["empty"],
        images_unusable=images["unusable"],
        rows_as_is=rows["used"] - rows["clipped"],
        rows_clipped=rows["clipped"],
        rows_deduplicated=rows["deduplicated"],
        rows_refused=rows["refused"],
        images_listed=len(pairs),
        rows_read=rows["read"],
        entries=tuple(entries),
    )


def _state_of(report: PairReport, problem: str | None) -> str:
    if problem is not None:
        return "unusable"
    if report.labels is None:
        return "missing"
    return "found" if report.labels.rows_read else "empty"


def _row_entries(pair: FilePair, report: PairReport, labels: LabelRows) -> Iterator[LedgerEntry]:
    file = printable(pair.label) if labels.problems or report.image.problem else ""
    unknown = [problem for problem in labels.problems if problem.outcome == "unknown class"]
    listed = labels.problems if report.image.problem is None else unknown
    for problem in listed:
        yield LedgerEntry(file, problem.line, problem.value, problem.reason, problem.outcome)
    if report.image.problem is not None and labels.rows_read > len(unknown):
        rows = labels.rows_read - len(unknown)
        yield LedgerEntry(file, 0, "", f"{rows} rows of an image that cannot be used", "refused", rows)
