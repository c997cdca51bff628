"""The report of one run, or the comparison of several, as a self-contained page."""

from __future__ import annotations

from collections.abc import Sequence

from onelook.files.bounded import printable
from onelook.reports import views
from onelook.reports.curves import learning_charts, speed_charts
from onelook.reports.html import render
from onelook.reports.line_chart import look
from onelook.reports.run_record import RunRecord
from onelook.training.eta import duration

SCRIPTS = ("charts.js", "explorer.js", "gallery.js")
LIVE_SCRIPTS = ("live.js", *SCRIPTS)  # first, as it needs the page as it was sent
SECTIONS = (
    ("summary", "Summary"),
    ("curves", "Curves"),
    ("classes", "Classes"),
    ("confusion", "Confusion"),
    ("thresholds", "Thresholds"),
    ("images", "Images"),
    ("data", "Data"),
    ("warnings", "Warnings"),
    ("settings", "Settings"),
    ("speed", "Speed"),
    ("environment", "Environment"),
)


def report_page(runs: Sequence[RunRecord], *, live: str = "") -> str:
    """The HTML page; equal runs give equal pages.

    Args:
        runs: one or more; others are compared with the first.
        live: of a page that follows its run, the version of the run folder; else empty.
    """
    is_one = len(runs) == 1
    return render(
        "report.html",
        title=f"Report of {runs[0].label}" if is_one else f"Comparison of {len(runs)} runs",
        subtitle=printable(runs[0].path) if is_one else ", ".join(run.label for run in runs),
        sections=SECTIONS,
        scripts=LIVE_SCRIPTS if live else SCRIPTS,
        live=live,
        runs=runs,
        is_one=is_one,
        measured=[run for run in runs if run.metrics is not None],
        learning=learning_charts(runs),
        speed=speed_charts(runs),
        views=views,
        duration=duration,
        look=look,
    )
