"""The splits of a data set, read and accounted for, as training and validation need them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onelook.data.dataset_spec import DatasetSpec, load_dataset_spec
from onelook.data.index import ScanResult, scan_split
from onelook.engine.stop_signal import StopSignal
from onelook.errors import DataError
from onelook.files.atomic import write_text_atomic

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """What was read.

    Attributes:
        spec: the data-set file.
        names: class names; one name if all classes count as one.
        scans: index and ledger by split, in the order they were asked for.
    """

    spec: DatasetSpec
    names: tuple[str, ...]
    scans: Mapping[str, ScanResult]

    def fingerprints(self) -> dict[str, str]:
        """Digest of the content of each split."""
        return {split: scan.index.fingerprint for split, scan in self.scans.items()}


def read_splits(
    data: Path, splits: tuple[str, ...], *, single_cls: bool, strict: bool, stop: StopSignal | None = None
) -> Splits:
    """Read the named splits of the data set `data`.

    Raises:
        DataError: the file, a split, or too many labels cannot be used.
        StopRequested: `stop` was set while reading.
    """
    spec = load_dataset_spec(data)
    scans = {}
    for split in splits:
        result = scan_split(spec, split, single_cls=single_cls, strict=strict, stop_requested=stop and stop.check)
        logger.info("%s: %s", split, result.ledger.summary())
        if len(result.index) == 0:
            raise DataError(f"split `{split}` of `{data}` has no usable image")
        scans[split] = result
    names = spec.names
    if single_cls and len(names) > 1:
        names = ("item",)
    return Splits(spec, names, scans)


def write_ledgers(splits: Splits, path: Path) -> None:
    """Write what became of every label row, as JSON."""
    content = {split: scan.ledger.to_json() for split, scan in splits.scans.items()}
    write_text_atomic(path, json.dumps(content, indent=1, ensure_ascii=True) + "\n")
