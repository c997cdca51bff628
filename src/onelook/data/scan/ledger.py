"""The account of a scan: what happened to every image and every label row. Nothing is dropped without an entry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from onelook.data.formats.label_rows import Outcome
from onelook.errors import counted
from onelook.files.fault_kinds import FaultKind
from onelook.files.json_values import from_document

EntryOutcome = Outcome | Literal["unusable image", "passed over"]

FORMAT = 3


@dataclass(frozen=True)
class LedgerEntry:
    """One image, row or file that was not used exactly as it is.

    Attributes:
        file: the label or image file, printable.
        line: line of the label file, from 1; 0 means the file as a whole, or one without lines.
        value: the row as written, shortened; of an unknown class, its id or name; empty for images.
        outcome: what was done: `clipped`, `deduplicated`, `refused`, `unknown class` (also refused), `ignored`,
            `unusable image`, `note` (odd, and used all the same), or `passed over` (a file that belongs to no image, or
            is an image that is not read or not listed).
        rows: number of label rows that this entry stands for; 0 for images.
        place: position in a file without lines, such as `annotations[7]` or `object 2`.
        kind: kind of fault; None if the outcome says it all.
    """

    file: str
    line: int
    value: str
    reason: str
    outcome: EntryOutcome
    rows: int = 1
    place: str = ""
    kind: FaultKind | None = None

    def __str__(self) -> str:
        place = f"`{self.file}`" + (f" line {self.line}" if self.line else f" {self.place}" if self.place else "")
        return f"{place}: {self.reason}" + (f" (`{self.value}`)" if self.value else "")


@dataclass(frozen=True)
class Ledger:
    """Counts of a split; every image and every row is counted in exactly one part.

    Attributes:
        images_found: usable, with at least one label row.
        images_missing: usable, without a label file: background.
        images_empty: usable, with labels that hold no row: background.
        images_unusable: left out.
        rows_as_is, rows_clipped: used.
        rows_without_keypoints: used without their keypoints; those that are also clipped count as clipped.
        rows_deduplicated: dropped, because the same row is used already.
        rows_refused: dropped, because they are wrong or belong to an unusable image.
        rows_ignored: left out by a rule of their format: crowds, difficult objects.
        files_passed_over: files that belong to no image, or images that are not read or not listed; counted nowhere
            else.
        entries: one or more for everything but plain use.
    """

    split: str
    images_found: int
    images_missing: int
    images_empty: int
    images_unusable: int
    rows_as_is: int
    rows_clipped: int
    rows_deduplicated: int
    rows_refused: int
    images_listed: int
    rows_read: int
    rows_ignored: int = 0
    rows_without_keypoints: int = 0
    files_passed_over: int = 0
    entries: tuple[LedgerEntry, ...] = ()

    @property
    def rows_used(self) -> int:
        """Labels in the index."""
        return self.rows_as_is + self.rows_clipped + self.rows_without_keypoints

    def of(self, *outcomes: EntryOutcome) -> list[LedgerEntry]:
        """The entries with one of these outcomes."""
        return [entry for entry in self.entries if entry.outcome in outcomes]

    def check(self) -> None:
        """Raise AssertionError, a bug of ours, if the sums do not add up or an entry is missing."""
        images = self.images_found + self.images_missing + self.images_empty + self.images_unusable
        rows = self.rows_used + self.rows_deduplicated + self.rows_refused + self.rows_ignored
        told = rows_by_outcome(self.entries)
        sums = {
            "images": (images, self.images_listed),
            "rows": (rows, self.rows_read),
            "clipped rows": (told["clipped"], self.rows_clipped),
            "deduplicated rows": (told["deduplicated"], self.rows_deduplicated),
            "refused rows": (told["refused"] + told["unknown class"], self.rows_refused),
            "ignored rows": (told["ignored"], self.rows_ignored),
            "unusable images": (len(self.of("unusable image")), self.images_unusable),
            "files passed over": (len(self.of("passed over")), self.files_passed_over),
        }
        wrong = [f"{name}: {one} is not {other}" for name, (one, other) in sums.items() if one != other]
        if wrong:
            raise AssertionError(f"the ledger of split `{self.split}` does not add up: {'; '.join(wrong)}")

    def summary(self) -> str:
        """Two or three short lines for people, without parts that are 0."""
        images = _parts(
            {
                "with labels": self.images_found,
                "without label file": self.images_missing,
                "with an empty label file": self.images_empty,
                "unusable": self.images_unusable,
            }
        )
        rows = _parts(
            {
                "used as they are": self.rows_as_is,
                "used without their keypoints": self.rows_without_keypoints,
                "clipped": self.rows_clipped,
                "repeated": self.rows_deduplicated,
                "refused": self.rows_refused,
                "ignored": self.rows_ignored,
            }
        )
        lines = [f"{counted(self.images_listed, 'image')}: {images}", f"{counted(self.rows_read, 'label row')}: {rows}"]
        if self.files_passed_over:
            kinds = Counter(entry.kind for entry in self.of("passed over"))
            unread, unlisted = kinds["unread-image"], kinds["unlisted-image"]
            files = {
                "of an unsupported format or suffix": unread,
                "not listed": unlisted,
                "with labels but no image": self.files_passed_over - unread - unlisted,
            }
            lines.append(f"{counted(self.files_passed_over, 'other file')} not used: {_parts(files)}")
        return "\n".join(f"{self.split}: {line}" for line in lines)

    def to_json(self) -> str:
        """The ledger as one JSON document."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=True)


def ledger_from(content: Any) -> Ledger:
    """The ledger from its JSON; ValueError if it is something else."""
    return from_document(Ledger, content, version=FORMAT)


def _parts(counts: Mapping[str, int]) -> str:
    """ "5 good, 1 bad" from names and counts; those of 0 are left out."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def rows_by_outcome(entries: Iterable[LedgerEntry]) -> Counter[str]:
    """How many label rows the entries of each outcome stand for."""
    rows: Counter[str] = Counter()
    for entry in entries:
        rows[entry.outcome] += entry.rows
    return rows
