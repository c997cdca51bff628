"""What the sections of a report share: names of runs, values of settings, and what to say of absent files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from onelook.reports.pages.line_chart import swatch
from onelook.reports.pages.markup import Markup, element, joined, user_text
from onelook.reports.pages.page import note
from onelook.reports.run_record import RunRecord

MAX_VALUE = 400


def run_heading(runs: Sequence[RunRecord], number: int) -> Markup:
    """The name of one run as a heading, in its colour; nothing if there is one run only."""
    if len(runs) == 1:
        return Markup("")
    return element("h3", swatch(number, number // 8), " ", user_text(runs[number].label))


def absent(run: RunRecord, *files: str, without: str) -> Markup:
    """Why something is not in the report: the first of the files that could not be used, and what it would give."""
    name = next((file for file in files if file in run.absent), files[0])
    reason = run.absent.get(name, "")
    why = joined([" cannot be used: ", user_text(reason)]) if reason else " is not in the run folder"
    return note(element("code", name), why, f", so there {without}.")


def value_text(value: Any) -> str:
    """A setting as people write it.

    >>> value_text(True), value_text([0, 1]), value_text(""), value_text(0.001)
    ('yes', '0, 1', '(empty)', '0.001')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(part, list | dict) for part in value):
        text = ", ".join(map(str, value)) or "(none)"
    elif isinstance(value, list | dict):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = str(value) if value is not None else "(none)"
    return (text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…") or "(empty)"
