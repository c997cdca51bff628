"""The splits of a dataset, read and accounted for, as training and validation need them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onelook.data.capacity import available_processors
from onelook.data.dataset_layout import open_dataset
from onelook.data.dataset_spec import DatasetSpec
from onelook.data.parallel_map import StopTest, Work
from onelook.data.scan.index import ScanResult, scan_split
from onelook.data.scan.rules import ScanOptions, warn_of_crowds
from onelook.errors import DataError
from onelook.files.atomic import write_json_atomic
from onelook.files.bounded import printable
from onelook.files.cache_folder import default_cache_folder
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings

logger = logging.getLogger(__name__)
ONE_CLASS = ("item",)
"""Names of a dataset of several classes that all count as one."""


@dataclass(frozen=True)
class Splits:
    """Splits of a dataset that were read.

    Attributes:
        names: class names; one name if all classes count as one.
        scans: index and ledger by split, in the order they were asked for.
    """

    spec: DatasetSpec
    names: tuple[str, ...]
    scans: Mapping[str, ScanResult]

    def fingerprints(self) -> dict[str, str]:
        """Digest of the content of each split."""
        return {split: scan.index.fingerprint for split, scan in self.scans.items()}


def read_splits(data: Path, splits: tuple[str, ...], *, options: ScanOptions, stop: StopTest | None = None) -> Splits:
    """Read the named splits of the dataset `data`.

    Raises:
        DataError: the file, a split, or too many labels cannot be used.
    """
    return read_splits_of(open_dataset(data), splits, options=options, stop=stop)


def read_splits_of(
    spec: DatasetSpec, splits: tuple[str, ...], *, options: ScanOptions, stop: StopTest | None = None
) -> Splits:
    """As `read_splits`, of a dataset that has been opened."""
    scans, work = {}, Work(available_processors(), stop)
    for split in splits:
        result = scan_split(spec, split, options=options, work=work, cache_folder=default_cache_folder())
        logger.info("%s", result.ledger.summary())
        if len(result.index) == 0:
            raise DataError(f"split `{split}` of `{printable(spec.path)}` has no usable image")
        if options.max_det is not None:
            warn_of_crowds(result.index, split, options.max_det)
        scans[split] = result
    if {"train", "val"} <= set(scans):
        warn_of_overlap(scans["train"], scans["val"])
    names = spec.names
    if options.single_cls and len(names) > 1:
        names = ONE_CLASS
    return Splits(spec, names, scans)


def warn_of_overlap(train: ScanResult, other: ScanResult) -> list[tuple[str, str]]:
    """Pairs of paths, in `other` and in `train`, whose files have the same content; warns once if there are any."""
    numbers = {digest.tobytes(): number for number, digest in enumerate(train.image_digests)}
    shared = [
        (path, train.index.paths[numbers[key]])
        for path, key in zip(other.index.paths, map(bytes, other.image_digests), strict=True)
        if key in numbers
    ]
    if shared:
        logger.warning(
            "%d of %d images of split `%s` are also in split `%s`, first: `%s` = `%s`; scores on them mean little",
            len(shared), len(other.index), other.ledger.split, train.ledger.split, *map(printable, shared[0]),
        )  # fmt: skip
    return shared


def scan_options(settings: TrainSettings | ValidateSettings) -> ScanOptions:
    return ScanOptions(
        single_cls=settings.single_cls,
        strict=settings.strict,
        allow_unlabelled=settings.allow_unlabelled,
        max_det=settings.max_det,
        max_pixels=settings.max_pixels,
    )


def write_ledgers(splits: Splits, path: Path) -> None:
    """Write what happened to every label row, as JSON."""
    write_json_atomic(path, {split: json.loads(scan.ledger.to_json()) for split, scan in splits.scans.items()})
