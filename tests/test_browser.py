"""The harness for tests of pages sees what it is meant to see; else a test of a page could never fail."""

from __future__ import annotations

from pathlib import Path

import cv2
from browser import Browser

PAGE = """\
<!doctype html><meta charset="utf-8"><title>A page</title>
<body style="margin:0;background:#00f"><div id="zone" style="width:200px;height:100px;background:#f00">drop</div>
<input type="file"><button>press</button>
<script>
for (const kind of ["dragover", "drop"]) zone.addEventListener(kind, event => {
  event.preventDefault();
  if (kind === "drop") event.dataTransfer.files[0].text().then(text => { zone.title = text; });
});
document.querySelector("input").onchange = event => { zone.className = event.target.files[0].name; };
document.querySelector("button").onclick = () => { zone.lang = "pressed"; };
</script>
"""


def test_tab_runs_a_page_and_captures_it(browser: Browser, tmp_path: Path) -> None:
    page, note = tmp_path / "page.html", tmp_path / "note.txt"
    page.write_text(PAGE)
    note.write_text("dropped")
    tab = browser.open(page, width=300, height=200)
    assert tab.evaluate("document.title + innerWidth") == "A page300"
    tab.drop(note, "#zone")
    assert tab.wait_for("zone.title") == "dropped"
    tab.choose(note, "input")
    assert tab.wait_for("zone.className") == "note.txt"
    tab.click("button")
    assert tab.wait_for("zone.lang") == "pressed"
    image = cv2.imread(str(tab.screenshot(tmp_path / "page.png")))
    assert image.shape == (200, 300, 3)
    assert image[90, 190].tolist() == [0, 0, 255] and image[150, 250].tolist() == [255, 0, 0]  # BGR
    tab.resize(150, 100, mobile=True)
    image = cv2.imread(str(tab.screenshot(tmp_path / "phone.png")))
    assert image.shape == (200, 300, 3)
    assert tab.errors == [] and tab.requests == [page.as_uri()]
    tab.close()


def test_tab_notes_errors_and_every_request(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script src='none.js'></script><script>console.error('mine'); no.such</script>")
    tab = browser.open(page)
    assert len(tab.errors) == 3 and "mine" in tab.errors and any("ReferenceError" in line for line in tab.errors)
    assert tab.requests == [page.as_uri(), page.with_name("none.js").as_uri()]
    tab.close()
