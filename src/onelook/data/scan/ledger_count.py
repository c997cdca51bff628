"""The ledger of a scan, from its chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from onelook.data.formats.label_rows import RowProblem
from onelook.data.formats.label_source import LabelSource
from onelook.data.scan.files import ScanChunk
from onelook.data.scan.ledger import Ledger, LedgerEntry, rows_by_outcome
from onelook.errors import counted
from onelook.files.bounded import printable
from onelook.files.fault_kinds import Remark


def counts_of(chunk: ScanChunk, is_used: npt.NDArray[np.bool_]) -> Counter[str]:
    """Numbers of images of a chunk, and of their rows, by kind; `is_used`: (M,)."""
    labels = chunk.labels
    counts = {
        "unusable": ~is_used,
        "missing": is_used & ~chunk.has_labels,
        "empty": is_used & chunk.has_labels & (labels.rows_read == 0),
        "found": is_used & (labels.rows_read > 0),
        "rows read": labels.rows_read,
        "rows used": labels.lengths,
        "rows with keypoints": labels.rows_with_keypoints,
    }
    return Counter({name: int(numbers.sum()) for name, numbers in counts.items()})


def entries_of(source: LabelSource, chunk: ScanChunk, problems: Mapping[int, Remark]) -> Iterator[LedgerEntry]:
    """The ledger entries of the images of a chunk and their labels.

    Args:
        problems: why images are left out, by their number in the chunk.
    """
    for place in sorted({*problems, *chunk.image_notes, *chunk.labels.problems}):
        number = chunk.start + place
        image, file = printable(source.images[number]), printable(source.label_files[number])
        if place in problems:
            yield LedgerEntry(image, 0, "", problems[place].text, "unusable image", rows=0, kind=problems[place].kind)
        else:
            for note in chunk.image_notes.get(place, ()):
                yield LedgerEntry(image, 0, "", note.text, "note", rows=0, kind=note.kind)
        told = chunk.labels.problems.get(place, ())
        if place in chunk.image_problems:
            told = tuple(problem for problem in told if problem.outcome == "unknown class")
        yield from (_entry(file, problem) for problem in told)
        if place in chunk.image_problems and (rows := int(chunk.labels.rows_read[place]) - len(told)):
            reason = f"{counted(rows, 'row')} of an image that cannot be used"
            yield LedgerEntry(file, 0, "", reason, "refused", rows, kind="of-unusable-image")


def ledger_of(source: LabelSource, split: str, counts: Mapping[str, int], entries: Sequence[LedgerEntry]) -> Ledger:
    """The ledger of a split, from the sums of `counts_of` and all `entries_of`; labels without an image are added."""
    lost = [_entry(printable(source.lost_file), problem) for problem in source.lost_rows()]
    rows = rows_by_outcome([*entries, *lost])
    return Ledger(
        split=split,
        **{f"images_{part}": counts[part] for part in ("found", "missing", "empty", "unusable")},
        images_listed=len(source.images),
        rows_read=counts["rows read"] + len(lost),
        rows_as_is=counts["rows used"] - rows["clipped"] - counts["rows with keypoints"],
        rows_without_keypoints=counts["rows with keypoints"],
        rows_clipped=rows["clipped"],
        rows_deduplicated=rows["deduplicated"],
        rows_refused=rows["refused"] + rows["unknown class"],
        rows_ignored=rows["ignored"],
        entries=(*entries, *lost),
    )


def _entry(file: str, problem: RowProblem) -> LedgerEntry:
    rows = 0 if problem.outcome == "note" else 1
    return LedgerEntry(
        file, problem.line, problem.value, problem.reason, problem.outcome, rows, problem.place, problem.kind
    )
