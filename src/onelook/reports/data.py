"""The sections about the data and the machine: what became of the labels, what was warned of, what it ran on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from onelook.data.scan.ledger import Ledger
from onelook.reports.pages.markup import Markup, joined, user_text
from onelook.reports.pages.page import folded, note, section, side_by_side, warning
from onelook.reports.pages.tables import NOTHING, Cell, table
from onelook.reports.report_text import absent, run_heading
from onelook.reports.run_record import RunRecord

MAX_ENTRIES = 100
IMAGE_ROWS = {
    "with labels": "images_found",
    "without label file": "images_missing",
    "with an empty label file": "images_empty",
    "unusable": "images_unusable",
}
LABEL_ROWS = {
    "used as they are": "rows_as_is",
    "clipped to the image": "rows_clipped",
    "repeated, used once": "rows_deduplicated",
    "refused": "rows_refused",
}
FAULTS = ("images_unusable", "rows_clipped", "rows_deduplicated", "rows_refused")


def data_section(runs: Sequence[RunRecord]) -> Markup:
    """Images, labels and everything that was wrong with them; said once for runs on the same data."""
    content: list[Markup] = []
    told: list[RunRecord] = []
    for place, run in enumerate(runs):
        same = next((other for other in told if _data_of(other) == _data_of(run)), None)
        content.append(run_heading(runs, place))
        if same is not None:
            content.append(note("The same as in ", user_text(same.label), "."))
            continue
        told.append(run)
        content += _data(run)
    return section("data", "Data", *content)


def warnings_section(runs: Sequence[RunRecord]) -> Markup:
    """What the runs warned of."""
    content: list[Markup] = []
    for place, run in enumerate(runs):
        content.append(run_heading(runs, place))
        if run.facts is None:
            content.append(absent(run, "run.json", without="are no warnings"))
        elif not run.facts.warnings:
            content.append(note("None."))
        else:
            content.append(joined(warning(user_text(text)) for text in run.facts.warnings))
    return section("warnings", "Warnings", *content)


def environment_section(runs: Sequence[RunRecord]) -> Markup:
    """Machine and versions; several columns where a run was resumed elsewhere."""
    columns = [
        (run.label if len(run.facts.environments) == 1 else f"{run.label}, part {part}", found)
        for run in runs
        if run.facts is not None
        for part, found in enumerate(run.facts.environments, start=1)
    ]
    if not columns:
        nothing = absent(runs[0], "run.json", without="is nothing about machine and versions")
        return section("environment", "Environment", nothing)
    names = list(dict.fromkeys(name for _, found in columns for name in found))
    rows: list[list[str | Cell]] = []
    for name in names:
        values = [found.get(name, NOTHING) for _, found in columns]
        kinds = ("" if value == values[0] else "differs" for value in values)
        rows.append([user_text(name), *(Cell(user_text(v), kind=k) for v, k in zip(values, kinds, strict=True))])
    head = ["", *(user_text(label) for label, _ in columns)]
    return section(
        "environment", "Environment", table(head, rows, label="Machine and versions", text_columns=len(columns) + 1)
    )


def _data_of(run: RunRecord) -> tuple[object, object]:
    return run.ledgers, None if run.facts is None else run.facts.splits


def _data(run: RunRecord) -> list[Markup]:
    if not run.ledgers:
        return [absent(run, "labels.json", without="is no account of images and labels")]
    splits = list(run.ledgers.values())
    parts = [
        _counts("images", "images_listed", IMAGE_ROWS, splits),
        _counts("label rows", "rows_read", LABEL_ROWS, splits),
    ]
    parts += _class_counts(run)
    return [side_by_side(*parts), *_gaps(run), *(part for ledger in splits for part in _entries(ledger))]


def _counts(title: str, total: str, rows_of: dict[str, str], splits: Sequence[Ledger]) -> Markup:
    rows: list[list[str | Cell]] = [[f"all {title}", *(f"{getattr(ledger, total):,}" for ledger in splits)]]
    for name, attribute in rows_of.items():
        counts = [int(getattr(ledger, attribute)) for ledger in splits]
        if any(counts):
            kind = "bad" if attribute in FAULTS else ""
            rows.append([name, *(Cell(f"{count:,}", kind=kind if count else "") for count in counts)])
    head = [title, *(user_text(str(ledger.split)) for ledger in splits)]
    return table(head, rows, label=f"What became of the {title}", kind="first-row")


def _entries(ledger: Ledger) -> list[Markup]:
    """What was not used just as it stands: by reason, and the first ones in full."""
    if not ledger.entries:
        return []
    by_reason = Counter((str(entry.outcome), str(entry.reason)) for entry in ledger.entries)
    reasons = [
        [user_text(outcome), user_text(reason), f"{count:,}"] for (outcome, reason), count in by_reason.most_common(20)
    ]
    first = ledger.entries[:MAX_ENTRIES]
    rows = [
        [
            user_text(str(e.file)),
            user_text(str(e.line or "")),
            user_text(str(e.outcome)),
            user_text(str(e.reason)),
            user_text(str(e.value)),
        ]
        for e in first
    ]
    title = f"Split {ledger.split}: {len(ledger.entries):,} things that were not used as they stand"
    more = (
        [note(f"The other {len(ledger.entries) - len(first):,} are in labels.json.")]
        if len(ledger.entries) > len(first)
        else []
    )
    listing = table(["file", "line", "what was done", "why", "value"], rows, label=title, text_columns=5)
    head = ["what was done", "why", "how often"]
    return [folded(title, table(head, reasons, label="FailureStore", text_columns=2), listing, *more)]


def _class_counts(run: RunRecord) -> list[Markup]:
    """Labels of each class in each split; classes that a split lacks stand out."""
    if run.facts is None or not run.facts.splits:
        return [absent(run, "run.json", without="are no counts of labels by class")]
    splits = run.facts.splits
    longest = {split: max(facts.labels, default=0) or 1 for split, facts in splits.items()}
    rows: list[list[str | Cell]] = []
    for class_id, name in enumerate(run.facts.names):
        cells: list[str | Cell] = [user_text(name)]
        for split, facts in splits.items():
            count = facts.labels[class_id] if class_id < len(facts.labels) else 0
            cells.append(Cell(f"{count:,}", shade=0.45 * count / longest[split], kind="" if count else "bad"))
        rows.append(cells)
    head = ["labels of each class", *(user_text(split) for split in splits)]
    counted = table(head, rows, label="Labels of each class")
    return [counted if len(rows) <= 30 else folded(f"Labels of each of {len(rows)} classes", counted)]


def _gaps(run: RunRecord) -> list[Markup]:
    """Classes that cannot be learned, or whose learning cannot be measured."""
    if run.facts is None:
        return []
    found = []
    consequences = {"train": "cannot be learned", "val": "are in no mean"}
    for split, facts in run.facts.splits.items():
        names = [name for name, count in zip(run.facts.names, facts.labels, strict=False) if not count]
        if names and split in consequences:
            shown = joined(part for name in names[:10] for part in (user_text(name), ", "))
            more = f"and {len(names) - 10} more " if len(names) > 10 else ""
            found.append(warning(f"Without labels in {split}: ", shown, f"{more}these {consequences[split]}."))
    return found
