"""The page of the data doctor: what was found, what cures it, the suspicious labels as images, and the numbers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from onelook.doctor.diagnosis import Diagnosis
from onelook.doctor.faults import FAULTS, Severity
from onelook.doctor.findings import Finding, by_kind, by_severity
from onelook.doctor.statistics import QUANTILES, SplitStatistics
from onelook.reports.pages.markup import Markup, element, joined, user_text
from onelook.reports.pages.page import contents, folded, note, page, section, tiles, warning
from onelook.reports.pages.tables import Cell, number, table

MAX_PER_KIND = 200
_SHADES: dict[Severity, str] = {"error": "bad", "warning": "differs", "note": ""}


@dataclass(frozen=True)
class CaptionedImage:
    """An image for the page.

    Attributes:
        jpeg: the file.
        caption: what it shows.
    """

    jpeg: bytes
    caption: str


def check_page(diagnosis: Diagnosis, exhibits: Sequence[CaptionedImage] = ()) -> str:
    """The text of an HTML file that needs nothing else.

    Args:
        diagnosis: what was found.
        exhibits: images of the most suspicious labels, the worst first.
    """
    found = by_kind(diagnosis.findings)
    parts = [("cures", "What to do", _cures(found))]
    if exhibits:
        parts.append(("suspects", "Suspicious labels", _exhibition(exhibits)))
    parts += [
        ("findings", "Place by place", _places(found)),
        ("classes", "Classes", _classes(diagnosis)),
        ("sizes", "Sizes", _sizes(diagnosis)),
    ]
    counts = by_severity(diagnosis.findings)
    figures = [(f"{severity}s", f"{count:,}") for severity, count in counts.items()]
    figures += [(split, f"{numbers.images:,} images") for split, numbers in diagnosis.statistics.items()]
    sentence = warning if counts["error"] else note
    head = element("header", element("h1", "Check of the data"), element("p", user_text(diagnosis.data)))
    links = contents([(identity, title) for identity, title, _ in parts])
    verdict = sentence(f"{diagnosis.verdict[:1].upper()}{diagnosis.verdict[1:]}.")
    sections = (section(identity, title, content) for identity, title, content in parts)
    foot = element("footer", f"Written by Onelook {version('onelook')}. This page asks nothing of the network.")
    return page("Check of the data", joined([head, links, element("main", verdict, tiles(figures), *sections), foot]))


def _cures(found: dict[str, list[Finding]]) -> Markup:
    if not found:
        return note("Nothing was found.")
    rows: list[list[str | Cell]] = []
    for kind, findings in found.items():
        fault = FAULTS[kind]
        severity = Cell(fault.severity, kind=_SHADES[fault.severity])
        rows.append([fault.title, severity, fault.cure, fault.fixed or "–", f"{len(findings):,}"])
    head = ["what", "severity", "cure", "what --fix does", "count"]
    return table(head, rows, label="Faults and their cures", text_columns=4)


def _places(found: dict[str, list[Finding]]) -> Markup:
    parts = []
    for kind, findings in found.items():
        rows = [
            [user_text(finding.file or "–"), finding.split, str(finding.line or "–"), user_text(finding.detail)]
            for finding in findings[:MAX_PER_KIND]
        ]
        title = f"{FAULTS[kind].title[:1].upper()}{FAULTS[kind].title[1:]}: {len(findings):,}"
        content = [table(["file", "split", "line", "what"], rows, label=title, text_columns=4)]
        if len(findings) > MAX_PER_KIND:
            content.append(note(f"The first {MAX_PER_KIND}; all are in the JSON file."))
        parts.append(folded(title, *content))
    return joined(parts) if parts else note("Nothing was found.")


def _exhibition(exhibits: Sequence[CaptionedImage]) -> Markup:
    figures = (
        element(
            "figure",
            element(
                "img",
                src=f"data:image/jpeg;base64,{base64.b64encode(exhibit.jpeg).decode('ascii')}",
                alt=f"labelled and seen: {exhibit.caption}",
                loading="lazy",
                width="100%",
            ),
            element("figcaption", user_text(exhibit.caption)),
        )
        for exhibit in exhibits
    )
    told = note("Left: as it is labelled. Right: what the detector sees. The most suspicious ones come first.")
    return joined([told, element("div", *figures, class_="charts")])


def _classes(diagnosis: Diagnosis) -> Markup:
    splits = diagnosis.statistics
    most = max((count for numbers in splits.values() for count in numbers.class_labels), default=0) or 1
    rows: list[list[str | Cell]] = []
    for class_id, name in enumerate(diagnosis.names):
        row: list[str | Cell] = [user_text(name)]
        for numbers in splits.values():
            count = numbers.class_labels[class_id]
            row += [Cell(f"{count:,}", shade=count / most), f"{numbers.class_images[class_id]:,}"]
        rows.append(row)
    head = ["class", *(title for split in splits for title in (f"{split}: labels", "images"))]
    return table(head, rows, label="Labels and images of each class")


def _sizes(diagnosis: Diagnosis) -> Markup:
    parts = [note(f"Sizes of objects are those at {diagnosis.imgsz} pixels, the longer side of the image.")]
    head = ["", *(f"{100 * part:g} %" for part in QUANTILES)]
    for split, numbers in diagnosis.statistics.items():
        rows = [[title, *(number(value, digits) for value in values)] for title, values, digits in _measures(numbers)]
        parts += [element("h3", split), table(head, [row for row in rows if len(row) > 1], label=f"Sizes of {split}")]
        shares = ", ".join(f"{100 * share:.1f} % {name}" for name, share in numbers.shares.items())
        parts.append(note(f"Objects: {shares}."))
    if diagnosis.anchors is not None:
        reach = f"{100 * diagnosis.anchors.best_possible_recall:.1f} %"
        parts.append(note(f"In reach of the anchors of {diagnosis.model}: {reach} of the objects to train on."))
    return joined(parts)


def _measures(numbers: SplitStatistics) -> list[tuple[str, tuple[float, ...], int]]:
    """Title, quantiles, digits behind the point."""
    return [
        ("width of images, px", numbers.width_px, 0),
        ("height of images, px", numbers.height_px, 0),
        ("width / height of images", numbers.aspect, 2),
        ("objects in an image", numbers.objects_per_image, 0),
        ("side of objects, px", numbers.object_side_px, 1),
        ("width / height of objects", numbers.object_aspect, 2),
    ]
