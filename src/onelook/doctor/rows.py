"""Findings from the entries of ledgers: files and rows that are not used as they are."""

from __future__ import annotations

from collections.abc import Iterator

from onelook.data.scan.ledger import LedgerEntry
from onelook.doctor.findings import Finding, Scans

_BY_OUTCOME = {
    "clipped": "clipped-box",
    "deduplicated": "repeated-row",
    "refused": "refused-row",
    "unknown class": "unknown-class",
    "unusable image": "unusable-image",
    "ignored": "set-aside",
    "note": "odd-file",
    "passed over": "lost-label",
}


def ledger_findings(scans: Scans) -> Iterator[Finding]:
    """A finding for each entry of the ledgers, except for rows of unusable images."""
    for split, scan in scans.items():
        for entry in scan.ledger.entries:
            if entry.kind == "of-unusable-image":
                continue  # the image has an entry of its own
            value = f" (`{entry.value}`)" if entry.value else ""
            yield Finding(kind_of(entry), split, entry.file, f"{entry.reason}{value}", entry.line)


def kind_of(entry: LedgerEntry) -> str:
    """The key of FAULTS for an entry; `of-unusable-image` for rows of an unusable image."""
    return entry.kind or _BY_OUTCOME[entry.outcome]
