"""Findings of the doctor, and the verdict on a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onelook.data.scan.index import ScanResult
from onelook.doctor.faults import FAULTS, SEVERITIES, Severity
from onelook.errors import counted


@dataclass(frozen=True)
class Finding:
    """One fault of one file, row or image.

    Attributes:
        kind: a key of FAULTS.
        file: the image or label file, printable; empty if the finding concerns a whole split.
        line: line of the label file, from 1; 0 means the file as a whole.
        detail: what is wrong here.
        image: number of the image in the index of its split; -1 if it is not in there.
        label: row of the label in the index of its split; -1 if the finding concerns none.
    """

    kind: str
    split: str
    file: str
    detail: str
    line: int = 0
    image: int = -1
    label: int = -1

    @property
    def severity(self) -> Severity:
        return FAULTS[self.kind].severity

    def document(self) -> dict[str, Any]:
        """The finding as plain values, without the numbers in the index."""
        return {name: value for name, value in vars(self).items() if name not in ("image", "label")}

    def __str__(self) -> str:
        subject = f"`{self.file}`" if self.file else f"split `{self.split}`"
        return f"{subject}{f' line {self.line}' if self.line else ''}: {self.detail}"


Scans = Mapping[str, ScanResult]


def by_kind(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """The findings by kind, worst kinds first; kinds without findings are left out."""
    found: dict[str, list[Finding]] = {kind: [] for kind in FAULTS}
    for finding in findings:
        found[finding.kind].append(finding)
    worst_first = sorted(found, key=lambda kind: SEVERITIES.index(FAULTS[kind].severity))
    return {kind: found[kind] for kind in worst_first if found[kind]}


def by_severity(findings: Iterable[Finding]) -> dict[Severity, int]:
    """Number of findings of each severity."""
    counts = Counter(finding.severity for finding in findings)
    return {severity: counts[severity] for severity in SEVERITIES}


def in_words(counts: Mapping[Severity, int]) -> str:
    """ "1 error, 2 warnings"; empty if there are none."""
    return ", ".join(counted(count, severity) for severity, count in counts.items() if count)


def verdict(findings: Iterable[Finding], refusal: str = "") -> str:
    """One sentence on the whole dataset; `refusal` is why it cannot be used, empty if it can."""
    counts = by_severity(findings)
    summary = in_words(counts)
    if refusal:
        cure = "; fix the errors" if counts["error"] else ""
        return f"{summary or 'nothing found'}: refused, since {refusal}{cure}"
    if counts["error"]:
        return f"{summary}: fix the errors before you trust any metrics"
    if counts["warning"]:
        return f"{summary}: ready for training, but read the warnings"
    return f"{summary}: ready for training" if summary else "nothing found: ready for training"
