"""Scans the splits of a dataset, however bad they are, and says why others cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.registry import FORMATS
from onelook.data.parallel_map import Work
from onelook.data.scan.index import ScanResult, scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.errors import DataError

logger = logging.getLogger(__name__)


def read_splits(
    spec: DatasetSpec, work: Work, cache_folder: Path, max_pixels: int
) -> tuple[dict[str, ScanResult], dict[str, DataError]]:
    """The scans of the splits, and why others cannot be read; DataError if none can."""
    scans: dict[str, ScanResult] = {}
    unread: dict[str, DataError] = {}
    for split in spec.splits:
        try:
            options = ScanOptions(report_only=True, max_pixels=max_pixels)
            scans[split] = scan_split(spec, split, options=options, work=work, cache_folder=cache_folder)
        except DataError as problem:
            unread[split] = problem
        else:
            logger.info("%s", scans[split].ledger.summary())
    if not scans:
        raise next(iter(unread.values()))
    return scans, unread


def require_splits(unread: Mapping[str, DataError]) -> None:
    """Raise the error of a split that training needs and that cannot be read."""
    for split in ("train", "val"):
        if split in unread:
            raise unread[split]


def unlabelled_in(spec: DatasetSpec, split: str, scan: ScanResult) -> tuple[frozenset[str], str | None]:
    """The images of a split without labels or an empty label file, and the first label file that is missing."""
    if scan.ledger.images_missing == 0:
        return frozenset(), None
    source = FORMATS[spec.format](spec, split, False)
    images = (path for path, has in zip(source.images, source.has_labels.tolist(), strict=True) if not has)
    return frozenset(images), source.first_missing
