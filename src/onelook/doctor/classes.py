"""Faults of whole splits: absent and rare classes, small objects, anchors that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onelook.data.dataset_spec import UNSPLIT
from onelook.doctor.findings import Finding
from onelook.doctor.statistics import CELL_PX, SplitStatistics
from onelook.errors import counted
from onelook.training.autoanchor import GOOD_RECALL, AnchorFit

RARE_LABELS = 10
IMBALANCE = 50.0
MANY_SMALL = 0.1
TRAINED_ON = frozenset({"train", UNSPLIT})

Statistics = Mapping[str, SplitStatistics]


def class_findings(statistics: Statistics, names: Sequence[str]) -> Iterator[Finding]:
    """Classes without labels, with few labels, and with far more than others."""
    for split, numbers in statistics.items():
        for name, count in zip(names, numbers.class_labels, strict=True):
            if count == 0:
                kind = "absent-class" if split in TRAINED_ON else "untested-class"
                yield Finding(kind, split, "", f"class `{name}` has no label")
            elif split in TRAINED_ON and count < RARE_LABELS:
                yield Finding("rare-class", split, "", f"class `{name}` has {counted(count, 'label')}")
    for split in TRAINED_ON & statistics.keys():
        counts = zip(statistics[split].class_labels, names, strict=True)
        present = [(count, name) for count, name in counts if count]
        (least, rare), (most, frequent) = min(present, default=(0, "")), max(present, default=(0, ""))
        if most > IMBALANCE * least:
            yield Finding("imbalance", split, "", f"{most} labels of `{frequent}`, {least} of `{rare}`")


def size_findings(statistics: Statistics, imgsz: int) -> Iterator[Finding]:
    """Splits with many objects smaller than a cell of the finest feature map."""
    for split, numbers in statistics.items():
        if numbers.shares["cell"] > MANY_SMALL:
            share = f"{100 * numbers.shares['cell']:.0f} % of the objects are below {CELL_PX:g} x {CELL_PX:g} pixels"
            yield Finding("small-objects", split, "", f"{share} at {imgsz}")


def anchor_findings(fit: AnchorFit, split: str, imgsz: int) -> Iterator[Finding]:
    """Anchors that match fewer objects than training accepts."""
    if fit.best_possible_recall <= GOOD_RECALL:
        missed = 100 * (1 - fit.best_possible_recall)
        yield Finding("far-anchors", split, "", f"{missed:.1f} % of the objects are out of reach at {imgsz}")
