"""The page of the data doctor: findings and cures, images of suspicious labels, and statistics."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from onelook.callbacks.number_table import classes_to_show
from onelook.doctor.diagnosis import Diagnosis
from onelook.doctor.faults import FAULTS
from onelook.doctor.findings import by_kind, by_severity
from onelook.doctor.judge import LEAST_MAP50
from onelook.doctor.statistics import QUANTILES
from onelook.errors import counted
from onelook.reports.html import render

MAX_PER_KIND = 200
SECTIONS = {
    "cures": "What to do",
    "suspects": "Suspicious labels",
    "findings": "All findings",
    "classes": "Classes",
    "sizes": "Sizes",
}


@dataclass(frozen=True)
class CaptionedImage:
    """A JPEG with a caption for the page, and the path of the original image."""

    jpeg: bytes
    caption: str
    file: str

    @property
    def base64(self) -> str:
        return base64.b64encode(self.jpeg).decode("ascii")


def check_page(diagnosis: Diagnosis, images: Sequence[CaptionedImage] = ()) -> str:
    """A self-contained HTML page; `images` show the most suspicious labels, the worst first."""
    is_judged = diagnosis.detector_map50 is not None
    statistics, counts = diagnosis.statistics, by_severity(diagnosis.findings)
    figures = [(f"{severity}s", f"{count:,}") for severity, count in counts.items()]
    return render(
        "check.html",
        title="Dataset check",
        subtitle=diagnosis.data,
        sections=[(identity, title) for identity, title in SECTIONS.items() if is_judged or identity != "suspects"],
        scripts=("check.js",) if images else (),
        least_map50=LEAST_MAP50,
        diagnosis=diagnosis,
        verdict=f"{diagnosis.verdict[:1].upper()}{diagnosis.verdict[1:]}",
        counts=counts,
        figures=[*figures, *((split, counted(numbers.images, "image")) for split, numbers in statistics.items())],
        findings=by_kind(diagnosis.findings),
        faults=FAULTS,
        most=MAX_PER_KIND,
        images=images,
        statistics=statistics,
        names=diagnosis.names,
        shown=classes_to_show(diagnosis.class_labels),
        class_head=["class", *(title for split in statistics for title in (f"{split}: labels", "images"))],
        most_labels=max((count for numbers in statistics.values() for count in numbers.class_labels), default=0) or 1,
        quantiles=[f"{100 * part:g} %" for part in QUANTILES],
    )
