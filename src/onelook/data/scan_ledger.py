"""The ledger of a scan, added up while the scan goes on."""

from __future__ import annotations

from collections.abc import Iterator

from onelook.data.formats.label_rows import LabelRows, RowProblem
from onelook.data.formats.label_source import LabelSource
from onelook.data.ledger import Ledger, LedgerEntry
from onelook.data.scan_files import PairReport
from onelook.files.bounded import printable


class LedgerCount:
    """Counts and entries of the images seen so far.

    Args:
        split: train, val or test.
        source: the images and their labels.
    """

    def __init__(self, split: str, source: LabelSource) -> None:
        self._split = split
        self._source = source
        self._rows = {"read": 0, "used": 0, "clipped": 0, "deduplicated": 0, "refused": 0, "ignored": 0}
        self._images = {"found": 0, "missing": 0, "empty": 0, "unusable": 0}
        self._entries: list[LedgerEntry] = []

    def add(self, number: int, report: PairReport, problem: str | None) -> None:
        """Account for image `number`; `problem` says why it is left out, None that it is used."""
        image, labels = printable(self._source.images[number]), report.labels
        self._images[_state_of(report, problem)] += 1
        if problem is not None:
            self._entries.append(LedgerEntry(image, 0, "", problem, "unusable image", rows=0))
        elif report.image.note is not None:
            self._entries.append(LedgerEntry(image, 0, "", report.image.note, "note", rows=0))
        if labels is None:
            return
        self._rows["read"] += labels.rows_read
        self._rows["used"] += len(labels) if problem is None else 0
        file = self._source.label_files[number]
        for entry in _row_entries(file, labels, is_readable=report.image.problem is None):
            self._tell(entry)

    def ledger(self) -> Ledger:
        """The whole account; labels of no image are added to it."""
        file = self._source.lost_file
        for problem in self._source.lost_rows():
            self._rows["read"] += 1
            self._tell(_entry(printable(file), problem))
        rows, images = self._rows, self._images
        return Ledger(
            split=self._split,
            images_found=images["found"],
            images_missing=images["missing"],
            images_empty=images["empty"],
            images_unusable=images["unusable"],
            rows_as_is=rows["used"] - rows["clipped"],
            rows_clipped=rows["clipped"],
            rows_deduplicated=rows["deduplicated"],
            rows_refused=rows["refused"],
            rows_ignored=rows["ignored"],
            images_listed=len(self._source.images),
            rows_read=rows["read"],
            entries=tuple(self._entries),
        )

    def _tell(self, entry: LedgerEntry) -> None:
        self._entries.append(entry)
        if entry.outcome != "note":
            self._rows["refused" if entry.outcome == "unknown class" else entry.outcome] += entry.rows


def _state_of(report: PairReport, problem: str | None) -> str:
    if problem is not None:
        return "unusable"
    if report.labels is None:
        return "missing"
    return "found" if report.labels.rows_read else "empty"


def _row_entries(label_file: str, labels: LabelRows, *, is_readable: bool) -> Iterator[LedgerEntry]:
    file = printable(label_file) if labels.problems or not is_readable else ""
    unknown = [problem for problem in labels.problems if problem.outcome == "unknown class"]
    for problem in labels.problems if is_readable else unknown:
        yield _entry(file, problem)
    rows = labels.rows_read - len(unknown)
    if not is_readable and rows:
        yield LedgerEntry(file, 0, "", f"{rows} rows of an image that cannot be used", "refused", rows)


def _entry(file: str, problem: RowProblem) -> LedgerEntry:
    rows = 0 if problem.outcome == "note" else 1
    return LedgerEntry(file, problem.line, problem.value, problem.reason, problem.outcome, rows, problem.place)
