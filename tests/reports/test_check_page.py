"""The page of the data doctor holds all findings, and names from the data are only ever text in it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import Browser
from colour_detector import write_squares

from onelook.doctor.findings import Finding
from onelook.files.yaml import dump_yaml
from onelook.recipes.check import CheckResult, check
from onelook.reports.check_page import MAX_PER_KIND, CaptionedImage, check_page

HOSTILE = "<script>alert(1)</script>&\"'"


class Reader(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def result(tmp_path: Path) -> CheckResult:
    """A dataset whose class and image have names that would run code where text is taken for HTML."""
    yaml = write_squares(tmp_path / "data")
    images = yaml.parent / "images" / "train"
    shutil.copy(images / "00.png", images / "<img src=x onerror=alert(2)>.png")
    content = {"path": ".", "train": "images/train", "val": "images/val", "names": [HOSTILE, "blue", "rare"]}
    yaml.write_text(dump_yaml(content))
    return check({"data": yaml, "near": -1})


def test_names_are_text_and_nothing_else(result: CheckResult) -> None:
    judged = replace(result.diagnosis, detector_map50=0.9)
    page = check_page(judged, [CaptionedImage(b"\xff\xd8\xff", HOSTILE, HOSTILE)])
    read = Reader(page)
    assert HOSTILE in read.text and "<img src=x onerror=alert(2)>" in read.text
    assert read.tags.count("script") == 1 and read.tags.count("img") == 1
    assert "alert(1)</script>" not in page and "https://" not in page and "http://" not in page


def test_findings_cures_and_numbers_are_all_there(result: CheckResult) -> None:
    text = Reader(check_page(result.diagnosis)).text
    for words in ("duplicate images", "keep one of them", "one is kept", "has the same content as",
                  "class `rare` has no label", "side of objects, px", "21 images"):  # fmt: skip
        assert words in text, words


def test_long_lists_are_cut_and_say_so(result: CheckResult) -> None:
    many = [Finding("clipped-box", "train", f"{number}.txt", "leaves") for number in range(MAX_PER_KIND + 5)]
    text = Reader(check_page(replace(result.diagnosis, findings=(*result.diagnosis.findings, *many)))).text
    assert f"{MAX_PER_KIND - 1}.txt" in text and f"{MAX_PER_KIND}.txt" not in text
    assert "all are in the JSON file" in text


def test_a_clean_dataset_has_a_page_as_well(tmp_path: Path) -> None:
    clean = check({"data": write_squares(tmp_path / "data"), "near": -1})
    text = Reader(check_page(clean.diagnosis)).text
    assert "Nothing found: ready for training." in text and "Nothing was found." in text


SAVED = """new Promise(done => {
    URL.createObjectURL = blob => { blob.text().then(done); return "#"; };
    document.querySelector("#save-list").click();
})"""


def test_the_images_to_label_next_are_saved_as_a_list(result: CheckResult, browser: Browser, tmp_path: Path) -> None:
    files = ["/data/a.jpg", f"/data/{HOSTILE}.jpg", "/data/a.jpg", "/data/b.jpg"]
    images = [CaptionedImage(b"\xff\xd8\xff", f"no. {number}", file) for number, file in enumerate(files)]
    page = tmp_path / "check.html"
    page.write_text(check_page(replace(result.diagnosis, detector_map50=0.9), images), encoding="utf-8")
    tab = browser.open(page)
    assert tab.evaluate(SAVED).splitlines() == list(dict.fromkeys(files))
    tab.evaluate("document.querySelectorAll('input.next')[3].click()")
    assert tab.evaluate("document.querySelector('#chosen').textContent") == "2 images"
    assert tab.evaluate(SAVED).splitlines() == files[:2]
    assert tab.errors == []
    tab.close()


def test_a_weak_detector_is_said_to_be_weak(result: CheckResult) -> None:
    text = Reader(check_page(replace(result.diagnosis, detector_map50=0.12))).text
    assert "has an mAP50 of 0.120 on this dataset, below 0.30" in text and "nothing is ranked" in text
    assert "Suspicious labels" not in Reader(check_page(result.diagnosis)).text, "nobody has judged"
