"""The diagnosis of a dataset without a model, and its JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onelook.data.image_hashes import ImageHashes
from onelook.doctor.classes import TRAINED_ON, anchor_findings, class_findings, size_findings
from onelook.doctor.faults import FAULTS
from onelook.doctor.findings import Finding, Scans, by_kind, by_severity, verdict
from onelook.doctor.images import AllImages, doubled_findings, flat_findings, turned_findings
from onelook.doctor.objects import crowded_findings, doubled_object_findings, tiny_object_findings
from onelook.doctor.rows import ledger_findings
from onelook.doctor.statistics import QUANTILES, SplitStatistics, statistics_of
from onelook.files.bounded import printable
from onelook.files.json_values import plain
from onelook.settings.hyperparameters import ANCHOR_T
from onelook.training.autoanchor import AnchorFit, Array, label_sizes_px, measure_anchors

FORMAT = 1


@dataclass(frozen=True)
class Diagnosis:
    """The result of checking a dataset.

    Attributes:
        data: its YAML, printable.
        imgsz: training size that object sizes refer to, pixels.
        findings: all faults, one by one.
        anchors: how well the anchors of `model` fit the training labels; None without a training split or anchors.
        model: name of the model with these anchors.
        detector_map50: mAP50 on this dataset of the detector that judged the labels; None without one.
        refusal: why training, or `strict`, refuses the dataset; else empty.
    """

    data: str
    names: tuple[str, ...]
    imgsz: int
    statistics: Mapping[str, SplitStatistics]
    findings: tuple[Finding, ...]
    anchors: AnchorFit | None
    model: str
    detector_map50: float | None = None
    refusal: str = ""

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        return verdict(self.findings, self.refusal)

    @property
    def class_labels(self) -> list[int]:
        """Objects of each class in all splits."""
        return [sum(counts) for counts in zip(*(s.class_labels for s in self.statistics.values()), strict=True)]

    def document(self) -> dict[str, Any]:
        """The diagnosis as plain values, for JSON."""
        return {
            "format": FORMAT,
            "data": self.data,
            "imgsz": self.imgsz,
            "names": list(self.names),
            "verdict": self.verdict,
            "counts": by_severity(self.findings),
            "faults": [
                {"kind": kind, **asdict(FAULTS[kind]), "count": len(found)}
                for kind, found in by_kind(self.findings).items()
            ],
            "quantiles": list(QUANTILES),
            "splits": {split: asdict(numbers) for split, numbers in self.statistics.items()},
            "detector_map50": self.detector_map50,
            "anchors": _anchors_document(self.anchors, self.model),
            "findings": [{"severity": finding.severity, **finding.document()} for finding in self.findings],
        }


@dataclass(frozen=True)
class DiagnosisOptions:
    """What is checked, and how strictly.

    Attributes:
        near_bits: see `doubled_findings`.
        max_det: maximum number of detections per image.
        model: name of the model with these anchors.
        anchors_px: (L, A, 2) width, height; None if the model has no anchors.
    """

    path: Path
    names: tuple[str, ...]
    imgsz: int
    near_bits: int
    max_det: int
    model: str
    anchors_px: Array | None


def diagnose(
    scans: Scans,
    hashes: Mapping[str, ImageHashes],
    unlabelled: Mapping[str, Collection[str]],
    options: DiagnosisOptions,
) -> Diagnosis:
    """All faults that can be found without a model; `unlabelled` are the images without any label file, by split."""
    names, imgsz = options.names, options.imgsz
    statistics = {
        split: statistics_of(scan.index, num_classes=len(names), imgsz=imgsz) for split, scan in scans.items()
    }
    fit, train_split = None, next(iter(TRAINED_ON & scans.keys()), "")
    if train_split and options.anchors_px is not None:
        fit = measure_anchors(label_sizes_px(scans[train_split].index, imgsz), options.anchors_px, anchor_t=ANCHOR_T)
    findings = [
        *ledger_findings(scans),
        *doubled_findings(AllImages.of(scans, hashes), options.near_bits),
        *turned_findings(scans, hashes),
        *flat_findings(scans, hashes),
        *crowded_findings(scans, options.max_det),
        *unlabelled_findings(scans, unlabelled),
        *doubled_object_findings(scans, names),
        *tiny_object_findings(scans, names, imgsz),
        *class_findings(statistics, names),
        *size_findings(statistics, imgsz),
        *(anchor_findings(fit, train_split, imgsz) if fit is not None else ()),
    ]
    return Diagnosis(printable(options.path), names, imgsz, statistics, tuple(findings), fit, options.model)


def unlabelled_findings(scans: Scans, unlabelled: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    """Images without objects: with an empty label file, and without any."""
    for split, scan in scans.items():
        index = scan.index
        for image in np.flatnonzero(np.diff(index.offsets) == 0).tolist():
            file = printable(index.paths[image])
            if index.paths[image] in unlabelled[split]:
                yield Finding("no-label-file", split, file, "has no labels, not even an empty label file", image=image)
            else:
                yield Finding("empty-label-file", split, file, "is marked as background", image=image)


def _anchors_document(fit: AnchorFit | None, model: str) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {"model": model, **{name: value for name, value in plain(fit).items() if name != "anchors_px"}}
