"""The first sections of a report: how good the runs are, and with which settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from onelook.callbacks.eta import duration
from onelook.reports.pages.markup import Markup, element, joined, user_text
from onelook.reports.pages.page import folded, note, section, tiles, warning
from onelook.reports.pages.tables import NOTHING, Cell, number, table
from onelook.reports.report_text import absent, value_text
from onelook.reports.run_record import RunRecord
from onelook.settings.train import TrainSettings

COLUMNS: tuple[tuple[str, Callable[[RunRecord], float]], ...] = (
    ("mAP50-95", lambda run: run.metrics.map50_95 if run.metrics else math.nan),
    ("mAP50", lambda run: run.metrics.map50 if run.metrics else math.nan),
    ("Precision", lambda run: run.metrics.precision if run.metrics else math.nan),
    ("Recall", lambda run: run.metrics.recall if run.metrics else math.nan),
    ("F1", lambda run: run.metrics.f1 if run.metrics else math.nan),
)
ENDS = {"running": "has not ended", "stopped": "was stopped", "failed": "failed"}


def summary_section(runs: Sequence[RunRecord]) -> Markup:
    """The numbers that matter most: tiles for one run, a table for several."""
    states = [_state(run) for run in runs]
    figures = _tiles(runs[0]) if len(runs) == 1 else _comparison(runs)
    return section("summary", "Summary", *states, figures, *(_nothing_measured(run) for run in runs))


def settings_section(runs: Sequence[RunRecord]) -> Markup:
    """Which settings differ: from the defaults for one run, from each other for several."""
    if not any(run.settings for run in runs):
        return section("settings", "Settings", absent(runs[0], "settings.yaml", without="are no settings"))
    content = [_against_defaults(runs[0])] if len(runs) == 1 else _against_each_other(runs)
    names = _setting_names(runs)
    rows = [[name, *(_shown(run, name) for run in runs)] for name in names]
    everything = table(["setting", *_labels(runs)], rows, label="All settings", text_columns=len(runs) + 1)
    return section("settings", "Settings", *content, folded(f"All {len(names)} settings", everything))


def _tiles(run: RunRecord) -> Markup:
    figures = [(name, number(value(run))) for name, value in COLUMNS if run.metrics is not None]
    if run.results:
        best = run.best_epoch
        figures.append(("Epochs", str(len(run.results)) + (f", best {best}" if best is not None else "")))
    seconds = _seconds(run)
    if math.isfinite(seconds):
        figures.append(("Time", duration(seconds)))
    lines = [] if run.facts is None else [note(user_text(run.facts.model))]
    if run.metrics is not None:
        labels, images = f"{run.metrics.num_labels:,} labels", f"{run.metrics.num_images:,} images"
        lines.append(
            note(
                f"Measured on {labels} in {images}. Precision, recall and F1 are means over classes at a confidence of "
                f"{run.metrics.best_confidence:.3f}, where F1 is highest, and an IoU of 0.50."
            )
        )
    return joined([tiles(figures), *lines])


def _comparison(runs: Sequence[RunRecord]) -> Markup:
    best = {
        name: max((value(run) for run in runs if math.isfinite(value(run))), default=None) for name, value in COLUMNS
    }
    rows = []
    for run in runs:
        cells: list[str | Cell] = [Cell(user_text(run.label), title=str(run.path))]
        for name, value in COLUMNS:
            cells.append(Cell(number(value(run)), kind="best" if value(run) == best[name] else ""))
        epoch = run.best_epoch
        cells += [str(len(run.results) or NOTHING), NOTHING if epoch is None else str(epoch), duration(_seconds(run))]
        rows.append(cells)
    head = ["run", *(name for name, _ in COLUMNS), "epochs", "best epoch", "time"]
    words = "The best number of each column is bold. Differences that small datasets give by chance are not told apart."
    return joined([table(head, rows, label="Comparison of the runs"), note(words)])


def _state(run: RunRecord) -> Markup:
    state = str(run.status.get("state", "finished"))
    if state not in ENDS:
        return Markup("")
    message = str(run.status.get("message") or "")
    return warning(
        "Run ", user_text(run.label), f" {ENDS[state]}", *([": ", user_text(message)] if message else []), "."
    )


def _nothing_measured(run: RunRecord) -> Markup:
    if run.metrics is not None:
        return Markup("")
    return absent(run, "metrics.npz", without="are no final numbers, no classes and no confusion matrix")


def _seconds(run: RunRecord) -> float:
    """Time of training, validation and saving in all."""
    names = ("train_seconds", "val_seconds", "save_seconds")
    return sum(row.get(name, 0.0) for row in run.speeds for name in names) if run.speeds else math.nan


def _against_defaults(run: RunRecord) -> Markup:
    fields = TrainSettings.model_fields
    changed = [name for name in _setting_names([run]) if name not in fields or _default(name) != run.settings[name]]
    if not changed:
        return note("All settings have their default values.")
    rows = [[element("code", name), _shown(run, name), _default_text(name)] for name in changed]
    head = ["setting", "value", "default"]
    return joined(
        [
            note("Set by the user, or settled by the run for its length:"),
            table(head, rows, label="Settings that are not the defaults", text_columns=3),
        ]
    )


def _against_each_other(runs: Sequence[RunRecord]) -> list[Markup]:
    names = [name for name in _setting_names(runs) if len({_shown(run, name) for run in runs}) > 1]
    if not names:
        return [note("All runs have the same settings.")]
    rows: list[list[str | Cell]] = []
    for name in names:
        first = _shown(runs[0], name)
        cells = [Cell(text, kind="" if text == first else "differs") for text in (_shown(run, name) for run in runs)]
        rows.append([element("code", name), *cells])
    label = "Settings that differ between the runs"
    return [note(f"{label}:"), table(["setting", *_labels(runs)], rows, label=label, text_columns=len(runs) + 1)]


def _setting_names(runs: Sequence[RunRecord]) -> list[str]:
    """Names of all settings: those that are known first, in their order."""
    given = {name for run in runs for name in run.settings}
    return [name for name in TrainSettings.model_fields if name in given] + sorted(
        given - set(TrainSettings.model_fields)
    )


def _labels(runs: Sequence[RunRecord]) -> list[str]:
    return ["value"] if len(runs) == 1 else [user_text(run.label) for run in runs]


def _shown(run: RunRecord, name: str) -> Markup:
    return user_text(value_text(run.settings[name])) if name in run.settings else Markup(NOTHING)


def _default(name: str) -> Any:
    """The default as `settings.yaml` writes it."""
    default = TrainSettings.model_fields[name].default
    return str(default) if hasattr(default, "__fspath__") else default


def _default_text(name: str) -> str:
    return value_text(_default(name)) if name in TrainSettings.model_fields else NOTHING
