"""What follows from a ledger: an error, a warning or nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from onelook.data.dataset_spec import UNSPLIT, DatasetSpec
from onelook.data.scan.ledger import Ledger, LedgerEntry
from onelook.errors import DataError, OnelookError, combined, counted
from onelook.files.bounded import printable
from onelook.files.fault_kinds import FaultKind
from onelook.files.image_headers import MAX_PIXELS
from onelook.structures.dataset_index import DatasetIndex

logger = logging.getLogger(__name__)

MOST_MISSING = 0.5


@dataclass(frozen=True)
class ScanOptions:
    """What a scan insists on.

    Attributes:
        single_cls: all labels become class 0, whatever ids they have.
        strict: stop if any image or label row cannot be used.
        allow_unlabelled: accept that most images have no label file, or that the training split has no label at all.
        max_det: warn of images with more labels than so many detections that count; None does not.
        max_pixels: images with more cannot be used.
        report_only: insist on nothing and warn of nothing; the ledger tells all.
    """

    single_cls: bool = False
    strict: bool = False
    allow_unlabelled: bool = False
    max_det: int | None = None
    max_pixels: int = MAX_PIXELS
    report_only: bool = False


def apply_rules(ledger: Ledger, spec: DatasetSpec, options: ScanOptions, *, first_label: str | None) -> None:
    """Raise DataError if the split should not be used; warn once if parts of it are left out.

    Args:
        first_label: the first label file that was looked for and is not there, if any.
    """
    if options.report_only:
        return
    bad = ledger.of("refused", "unusable image", "unknown class")
    unknown = ledger.of("unknown class")
    if unknown:
        raise _unknown_classes(unknown, ledger.split, spec)
    if options.strict and bad:
        raise combined(
            DataError,
            f"split `{ledger.split}`: cannot use {counted(ledger.images_unusable, 'image')} "
            f"and {counted(ledger.rows_refused, 'label row')}:",
            [str(entry) for entry in bad],
            hint="fix them, or leave out `--strict` to continue without them",
        )
    if ledger.images_unusable == ledger.images_listed:
        raise combined(
            DataError,
            f"split `{ledger.split}`: no image can be used:",
            [str(entry) for entry in ledger.of("unusable image")],
            hint="`onelook check` counts them by fault and says how to fix each",
        )
    if not options.allow_unlabelled:
        _require_labels(ledger, spec, first_label)
    if bad:
        first = "; ".join(str(entry) for entry in bad[:3])
        logger.warning(
            "split `%s`: %d of %d images and %d of %d label rows cannot be used and are left out; first: %s",
            ledger.split, ledger.images_unusable, ledger.images_listed, ledger.rows_refused, ledger.rows_read, first,
        )  # fmt: skip


def warn_of_doubts(ledger: Ledger) -> None:
    """Warn once about suspicious rows that are used, and about files that are not."""
    doubtful: dict[FaultKind, list[LedgerEntry]] = {}
    for entry in ledger.of("note", "passed over"):
        if entry.kind is not None:
            doubtful.setdefault(entry.kind, []).append(entry)
    if doubtful:
        told = "; ".join(f"{len(entries)} like {entries[0]}" for entries in doubtful.values())
        logger.warning("split `%s`: see `onelook check` about %s", ledger.split, told)


def crowded_images(index: DatasetIndex, max_det: int) -> list[tuple[int, int]]:
    """Numbers of the images with more than `max_det` labels, and how many they have."""
    counts = np.diff(index.offsets)
    return [(image, int(counts[image])) for image in np.flatnonzero(counts > max_det).tolist()]


def warn_of_crowds(index: DatasetIndex, split: str, max_det: int) -> None:
    """Warn once if images of a split have more labels than detections that count."""
    crowded = crowded_images(index, max_det)
    if crowded:
        image, count = max(crowded, key=lambda one: one[1])
        logger.warning(
            "split `%s`: %s with more labels than detections that count (%d an image), up to %d in `%s`: "
            "even perfect detections would miss some; use `--max-det %d`",
            split, counted(len(crowded), "image"), max_det, count, printable(index.paths[image]), count,
        )  # fmt: skip


def _unknown_classes(unknown: list[LedgerEntry], split: str, spec: DatasetSpec) -> OnelookError:
    values = {entry.value for entry in unknown}
    if spec.format == "yolo":
        what = f"class ids {', '.join(sorted(values, key=int))} are not below"
        cure = f"class ids count from 0 ({spec.names[0]}) to {len(spec.names) - 1} ({spec.names[-1]})"
    else:
        what = f"the classes {', '.join(f'`{value}`' for value in sorted(values))} are not among"
        cure = f"`names` in the dataset YAML gives the classes: {', '.join(spec.names[:10])}" + (
            ", ..." if len(spec.names) > 10 else ""
        )
    return combined(
        DataError,
        f"split `{split}`: {what} the {counted(len(spec.names), 'class')} "
        f"of `{printable(spec.path)}`, in {counted(len(unknown), 'label row')}:",
        [str(entry) for entry in unknown],
        hint=f"{cure}; or count all as one class with `--single-cls`",
    )


def _require_labels(ledger: Ledger, spec: DatasetSpec, first_label: str | None) -> None:
    usable = ledger.images_listed - ledger.images_unusable
    if ledger.images_missing > MOST_MISSING * usable and first_label is not None:
        raise DataError(
            f"split `{ledger.split}`: {ledger.images_missing} of {usable} images have no label file; "
            f"looked for `{printable(first_label)}`, for example",
            hint=f"{_labels_expected_at(ledger.split, spec)}; if these are all background, add `--allow-unlabelled`",
        )
    if ledger.split in ("train", UNSPLIT) and ledger.rows_used == 0:
        bad = [str(entry) for entry in ledger.of("refused", "ignored", "unusable image")]
        raise combined(
            DataError,
            f"split `{ledger.split}`: {counted(usable, 'image')}, and not one label that can be used"
            + (":" if bad else ""),
            bad[:3],
            hint="check the label files; if these are all background, add `--allow-unlabelled`",
        )


def _labels_expected_at(split: str, spec: DatasetSpec) -> str:
    if split not in spec.annotations:
        return "labels lie beside images, or in a folder `labels` instead of `images`"
    folder = printable(spec.annotations[split])
    return f"the label file of an image lies below `{folder}` as the image lies below its folder, with the same name"
