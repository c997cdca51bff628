"""The scan of a split: every image decoded once, every label row judged once, the result kept outside the dataset."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.registry import FORMATS
from onelook.data.parallel_map import Work
from onelook.data.scan.cache import cache_key, load_scan, save_scan
from onelook.data.scan.files import scan_files
from onelook.data.scan.ledger import Ledger, LedgerEntry
from onelook.data.scan.packing import ScanContent, from_arrays, pack, to_arrays
from onelook.data.scan.rules import ScanOptions, apply_rules, warn_of_doubts
from onelook.files.bounded import printable
from onelook.structures.dataset_index import DatasetIndex

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScanResult:
    """A split, ready to be loaded.

    Attributes:
        index: usable images with their labels.
        ledger: what happened to every image and every label row.
        image_digests: (N, 16) uint8, equal for images of equal content.
        from_cache: no image had to be decoded.
    """

    index: DatasetIndex
    ledger: Ledger
    image_digests: npt.NDArray[np.uint8]
    from_cache: bool


def scan_split(
    spec: DatasetSpec,
    split: str,
    *,
    options: ScanOptions | None = None,
    work: Work | None = None,
    cache_folder: Path | None = None,
) -> ScanResult:
    """Check all images of a split and read all its labels; the dataset is only ever read.

    Args:
        options: what to insist on; by default the milder choice of each.
        work: threads that decode, or processes in large sets of YOLO labels, stop, and progress, unless the cache
            answers; by default the calling thread decodes. The result is the same for any number of threads.
        cache_folder: where an earlier result may be and the new one goes, see `default_cache_folder`; None keeps none.

    Returns:
        The result, without bad rows and images: these are in its ledger, and one warning counts them.

    Raises:
        DataError: no image, no usable image, class ids beyond the names, and what `options` insist on.
    """
    options, work = options or ScanOptions(), work or Work()
    source = FORMATS[spec.format](spec, split, options.single_cls)
    key = cache_key(source.files, source.states, root=spec.root, rules=f"{source.rules} {options.max_pixels}")
    cache_file = None if cache_folder is None else cache_folder / _cache_name(spec, split, options)

    content = None if cache_file is None else _from_cache(cache_file, key, source.images)
    from_cache = content is not None
    if content is None:
        content = pack(source, scan_files(source, work, max_pixels=options.max_pixels), split=split, root=spec.root)
        content.ledger.check()
        if cache_file is not None:
            save_scan(cache_file, {"key": key, **to_arrays(content)})
    strays = [
        LedgerEntry(
            printable(stray.file),
            line=0,
            value="",
            reason=stray.remark.text,
            outcome="note" if stray.is_used else "passed over",
            rows=0,
            kind=stray.remark.kind,
        )
        for stray in source.strays
    ]
    passed_over = sum(not stray.is_used for stray in source.strays)
    ledger = replace(content.ledger, files_passed_over=passed_over, entries=(*content.ledger.entries, *strays))
    ledger.check()
    apply_rules(ledger, spec, options, first_label=source.first_missing)
    if not options.report_only:
        warn_of_doubts(ledger)
    index = replace(content.index, max_pixels=options.max_pixels)
    if options.single_cls:
        index = replace(index, class_ids=np.zeros_like(index.class_ids))
    return ScanResult(index, ledger, content.image_digests, from_cache)


def _cache_name(spec: DatasetSpec, split: str, options: ScanOptions) -> str:
    """One file per YAML, split and reading of classes: a later scan replaces its own earlier result."""
    identity = b"\0".join([os.fsencode(spec.path), split.encode(), str(options.single_cls).encode()])
    return f"scan-{hashlib.sha256(identity).hexdigest()[:24]}.cache"


def _from_cache(path: Path, key: npt.NDArray[np.uint8], images: Sequence[str]) -> ScanContent | None:
    arrays = load_scan(path, key)
    if arrays is None:
        return None
    try:
        content = from_arrays(arrays, images)
        content.ledger.check()
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as problem:
        logger.debug("scan cache is not usable: %s", problem)
        return None
    return content
