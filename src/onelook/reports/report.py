"""The report of one run, or the comparison of several, as one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

from onelook.files.bounded import printable
from onelook.reports.classes import classes_section, confusion_section
from onelook.reports.curves import curves_section, speed_section
from onelook.reports.data import data_section, environment_section, warnings_section
from onelook.reports.explorer import explorer_section
from onelook.reports.images import images_section
from onelook.reports.pages.markup import Markup, element, joined, user_text
from onelook.reports.pages.page import contents, page
from onelook.reports.run_record import RunRecord
from onelook.reports.summary import settings_section, summary_section

SCRIPTS = ("charts", "explorer", "gallery")
SECTIONS: tuple[tuple[str, str, Callable[[Sequence[RunRecord]], Markup]], ...] = (
    ("summary", "Summary", summary_section),
    ("curves", "Curves", curves_section),
    ("classes", "Classes", classes_section),
    ("confusion", "Confusion", confusion_section),
    ("thresholds", "Thresholds", explorer_section),
    ("images", "Images", images_section),
    ("data", "Data", data_section),
    ("warnings", "Warnings", warnings_section),
    ("settings", "Settings", settings_section),
    ("speed", "Speed", speed_section),
    ("environment", "Environment", environment_section),
)


def report_page(runs: Sequence[RunRecord]) -> str:
    """The text of an HTML file; the same runs give the same text.

    Args:
        runs: one or more; the first is what the others are compared with.
    """
    title = f"Report of {runs[0].label}" if len(runs) == 1 else f"Comparison of {len(runs)} runs"
    where = printable(runs[0].path) if len(runs) == 1 else ", ".join(run.label for run in runs)
    head = element("header", element("h1", user_text(title)), element("p", user_text(where)))
    links = contents([(identity, name) for identity, name, _ in SECTIONS])
    body = element("main", *(make(runs) for _, _, make in SECTIONS))
    foot = element("footer", f"Written by Onelook {version('onelook')}. This page asks nothing of the network.")
    return page(title, joined([head, links, body, foot]), scripts=SCRIPTS)
