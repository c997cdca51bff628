"""The page of all validation images, in a browser: every image is there, filters leave the right ones."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from browser import Browser
from command_runs import Home

from onelook.recipes.validate import validate
from onelook.reports.report import report_page
from onelook.reports.run_record import read_run

CHOOSE = """(([id, value]) => { const control = document.querySelector(id); control.value = value;
    control.dispatchEvent(new Event("input")); return document.querySelectorAll("#shown figure").length; })(%s)"""
COVERED = """(boxes => boxes.some((a, i) => boxes.slice(i + 1).some(b => a.left + 1 < b.right && b.left + 1 < a.right
    && a.top + 1 < b.bottom && b.top + 1 < a.bottom)))(Array.from(document.querySelectorAll(".wide .word"),
    word => word.getBoundingClientRect()))"""


def test_all_images_are_shown_and_filtered(home: Home, browser: Browser) -> None:
    home.label("val", 0).write_text(
        "".join(f"0 0.{40 + n} 0.4{n} 0.3 0.3\n" for n in range(6))
    )  # words that would overlap
    given = {"weights": home.weights, "data": home.yaml, "imgsz": 64, "workers": 0, "device": "cpu", "noplots": True}
    folder = validate({**given, "visualize": True, "max_det": 60}).run_folder  # the page has all of them
    page = (folder / "val_images.html").read_text(encoding="utf-8")
    images = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])["images"]
    assert {image["name"] for image in images} == {f"{number:03}.jpg" for number in range(6)}
    assert len(list((folder / "val_images").iterdir())) == 6
    assert 'href="val_images.html"' in report_page([read_run(folder)])

    tab = browser.open(folder / "val_images.html", width=1280, height=900)

    def count(control: str, value: str) -> int:
        """Images that are shown once a filter has a value."""
        shown: int = tab.evaluate(CHOOSE % json.dumps([control, value]))
        return shown

    missed = [sum(not row[5] for row in image["labels"]) for image in images]
    wrong = [sum(not row[5] for row in image["detections"]) for image in images]
    errors = [one + other for one, other in zip(missed, wrong, strict=True)]
    assert errors == sorted(errors, reverse=True), "the worst come first"
    assert count("#kind", "") == 6
    assert count("#kind", "missed") == sum(map(bool, missed))
    assert count("#kind", "wrong") == sum(map(bool, wrong))
    discs = [sum(not row[5] for row in image["labels"] if row[4] == 1) for image in images]
    count("#class", "1")
    assert count("#kind", "missed") == sum(map(bool, discs))
    assert count("#kind", "wrong") == sum(any(not r[5] and r[4] == 1 for r in image["detections"]) for image in images)
    count("#kind", "wrong")
    assert count("#score", "1") == 0
    count("#score", "0")
    count("#class", "")
    count("#kind", "")
    assert tab.evaluate("Array.from(document.querySelectorAll('#shown bdi'), one => one.textContent)") == [
        image["name"] for image in images
    ]
    crowded = next(number for number, image in enumerate(images, start=1) if image["name"] == "000.jpg")
    tab.click(f"#shown figure:nth-child({crowded}) button")
    tab.wait_for("document.querySelector('.wide .word')")
    assert not tab.evaluate(COVERED), "words cover each other"
    for width in (390, 1280):
        tab.resize(width, 800, mobile=width == 390)
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        if shots := os.environ.get("ONELOOK_SCREENSHOTS"):
            tab.screenshot(Path(shots) / f"gallery-{width}.png")
    assert tab.errors == [] and len(tab.requests) == 7
    tab.close()
