"""The ledger of a scan, added up during the scan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import RowProblem
from onelook.data.formats.label_source import LabelSource
from onelook.data.scan.files import ScanChunk
from onelook.data.scan.ledger import Ledger, LedgerEntry
from onelook.files.bounded import printable
from onelook.files.fault_kinds import Remark


class LedgerCount:
    """Counts and entries of the images seen so far."""

    def __init__(self, split: str, source: LabelSource) -> None:
        self._split = split
        self._source = source
        self._rows: Counter[str] = Counter()
        self._images: Counter[str] = Counter()
        self._entries: list[LedgerEntry] = []

    def add(self, piece: ScanChunk, problems: Mapping[int, Remark], is_used: npt.NDArray[np.bool_]) -> None:
        """Account for some images; `problems` says why those that are not used are, by their number in the piece."""
        labels = piece.labels
        self._images["unusable"] += len(problems)
        self._images["missing"] += int((is_used & ~piece.has_labels).sum())
        self._images["empty"] += int((is_used & piece.has_labels & (labels.rows_read == 0)).sum())
        self._images["found"] += int((is_used & (labels.rows_read > 0)).sum())
        self._rows["read"] += int(labels.rows_read.sum())
        self._rows["used"] += int(labels.lengths[is_used].sum())
        self._rows["with keypoints"] += int(labels.rows_with_keypoints[is_used].sum())
        for place in sorted({*problems, *piece.image_notes, *labels.problems}):
            self._add_entries(piece, place, problems.get(place))

    def _add_entries(self, piece: ScanChunk, place: int, problem: Remark | None) -> None:
        """What there is to say about one image and its labels."""
        number = piece.start + place
        image = printable(self._source.images[number])
        if problem is not None:
            self._entries.append(LedgerEntry(image, 0, "", problem.text, "unusable image", rows=0, kind=problem.kind))
        else:
            self._entries += [
                LedgerEntry(image, 0, "", note.text, "note", rows=0, kind=note.kind)
                for note in piece.image_notes.get(place, ())
            ]
        file, rows_read = printable(self._source.label_files[number]), int(piece.labels.rows_read[place])
        row_problems = piece.labels.problems.get(place, ())
        if place in piece.image_problems:
            unknown = [each for each in row_problems if each.outcome == "unknown class"]
            for row_problem in unknown:
                self._tell(_entry(file, row_problem))
            if rows := rows_read - len(unknown):
                reason = f"{rows} rows of an image that cannot be used"
                self._tell(LedgerEntry(file, 0, "", reason, "refused", rows, kind="of-unusable-image"))
        else:
            for row_problem in row_problems:
                self._tell(_entry(file, row_problem))

    def ledger(self) -> Ledger:
        """The whole account; labels of no image are added to it."""
        file = self._source.lost_file
        for problem in self._source.lost_rows():
            self._rows["read"] += 1
            self._tell(_entry(printable(file), problem))
        rows, images = self._rows, self._images
        return Ledger(
            split=self._split,
            **{f"images_{part}": images[part] for part in ("found", "missing", "empty", "unusable")},
            **{f"rows_{part}": rows[part] for part in ("read", "clipped", "deduplicated", "refused", "ignored")},
            rows_as_is=rows["used"] - rows["clipped"] - rows["with keypoints"],
            rows_without_keypoints=rows["with keypoints"],
            images_listed=len(self._source.images),
            entries=tuple(self._entries),
        )

    def _tell(self, entry: LedgerEntry) -> None:
        self._entries.append(entry)
        if entry.outcome != "note":
            self._rows["refused" if entry.outcome == "unknown class" else entry.outcome] += entry.rows


def _entry(file: str, problem: RowProblem) -> LedgerEntry:
    rows = 0 if problem.outcome == "note" else 1
    return LedgerEntry(
        file, problem.line, problem.value, problem.reason, problem.outcome, rows, problem.place, problem.kind
    )
