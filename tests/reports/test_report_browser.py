"""The page of a report, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser, Tab
from hostile_names import HOSTILE_NAMES
from report_runs import make_run

from onelook.reports.report import report_page
from onelook.reports.run_record import RunRecord

SLIDE = """(value => {{ const slider = document.querySelector(".explorer input[type='range']");
    slider.value = value; slider.dispatchEvent(new Event("input", {{bubbles: true}})); }})({})"""
NUMBERS = """Array.from(document.querySelectorAll(".explorer tbody tr"),
    row => Array.from(row.cells).slice(2).map(cell => Number(cell.textContent)))"""
LEGEND = "document.querySelector('#curves .value').textContent"


def write(folder: Path, *runs: RunRecord) -> Path:
    path = folder / "report.html"
    path.write_text(report_page(runs), encoding="utf-8")
    return path


def assert_quiet(tab: Tab, path: Path) -> None:
    """Nothing was complained of, and nothing was asked but the file itself."""
    assert tab.errors == []
    assert tab.requests == [path.resolve().as_uri()]


@pytest.mark.parametrize("num_runs", [1, 3])
@pytest.mark.parametrize(("width", "mobile"), [(1280, False), (390, True), (320, True)])
def test_no_page_is_wider_than_its_window(
    browser: Browser, tmp_path: Path, width: int, mobile: bool, num_runs: int
) -> None:
    names = ("bee", "a_class_name_without_any_space_that_goes_on_and_on_and_on_and_on", *(f"c{i}" for i in range(10)))
    runs = [make_run(f"run-{place}", names=names, text="some/long/path/" * 10, seed=place) for place in range(num_runs)]
    path = write(tmp_path, *runs)
    tab = browser.open(path, width=width, height=800, mobile=mobile)
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert_quiet(tab, path)
    tab.close()


def test_hostile_names_make_no_element_and_run_nothing(browser: Browser, tmp_path: Path) -> None:
    for name in (" ".join(HOSTILE_NAMES), HOSTILE_NAMES[1]):
        path = write(tmp_path, make_run(name, names=HOSTILE_NAMES, text=name), make_run("b", names=(name,), text=name))
        tab = browser.open(path)
        tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        strange = "'b, i, img, iframe, object, embed, base, form, textarea, math, template, #hit, [onerror], [onload]'"
        assert tab.evaluate(f"document.querySelectorAll({strange}).length") == 0
        assert tab.evaluate("document.querySelectorAll('script').length") > 3
        assert tab.evaluate("typeof window.hit") == "undefined"
        shown = tab.evaluate("Array.from(document.querySelectorAll('#classes bdi'), one => one.textContent)")
        assert "<script>window.hit=1</script>" in shown and '=HYPERLINK("http://127.0.0.1/")' in shown
        assert_quiet(tab, path)
        tab.close()


def test_the_slider_changes_the_numbers_of_all_classes(browser: Browser, tmp_path: Path) -> None:
    run = make_run(names=("bee", "wasp", "fly"))
    assert run.metrics is not None
    tab = browser.open(write(tmp_path, run))
    start = tab.evaluate(NUMBERS)
    assert start[0] == pytest.approx([run.metrics.precision, run.metrics.recall, run.metrics.f1], abs=5e-4)
    tab.evaluate(SLIDE.format(0.2))
    at = round(0.2 * (len(run.metrics.curves.confidence) - 1))
    curves = run.metrics.curves
    for row, numbers in enumerate(tab.evaluate(NUMBERS)[1:]):
        expected = [float(curve[row, at]) for curve in (curves.precision, curves.recall, curves.f1)]
        assert numbers == pytest.approx(expected, abs=2e-3)
    means = [float(curve[:, at].mean()) for curve in (curves.precision, curves.recall, curves.f1)]
    assert tab.evaluate(NUMBERS)[0] == pytest.approx(means, abs=2e-3)
    assert tab.evaluate("document.querySelector('.slider output').textContent") == "0.200"
    tab.click("button.reset")
    assert tab.evaluate(NUMBERS) == start
    tab.close()


def test_the_mouse_reads_a_chart(browser: Browser, tmp_path: Path) -> None:
    run = make_run()
    tab = browser.open(write(tmp_path, run))
    last = float(tab.evaluate(LEGEND))
    assert last == pytest.approx(run.results[-1]["metrics/mAP_0.5:0.95"], rel=1e-3)
    x, y = tab.evaluate(
        "(svg => { svg.scrollIntoView({block: 'center', behavior: 'instant'}); const b = svg.getBoundingClientRect();"
        "return [b.x + b.width * 46 / 400 + 2, b.y + b.height / 2]; })(document.querySelector('#curves svg[role=img]'))"
    )
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    first = run.results[0]["metrics/mAP_0.5:0.95"]
    assert float(tab.evaluate(LEGEND)) == pytest.approx(first, rel=1e-3)
    assert tab.evaluate("document.querySelector('#curves .place').textContent") == "epoch 0"
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert float(tab.evaluate(LEGEND)) == pytest.approx(last)
    tab.close()


def test_images_are_seen_grow_and_hide_their_boxes(browser: Browser, tmp_path: Path) -> None:
    path = write(tmp_path, make_run())
    tab = browser.open(path)
    decoded = "(async () => { const i = new Image(); i.src = document.querySelector('.image image').href.baseVal;"
    assert tab.evaluate(f"{decoded} await i.decode(); return [i.width, i.height]; }})()") == [96, 64]
    width = "document.querySelector('.image').getBoundingClientRect().width"
    small = tab.evaluate(width)
    visible = "getComputedStyle(document.querySelector('.image {}')).display !== 'none'"
    assert not tab.evaluate(visible.format(".word"))
    tab.click(".image button")
    assert tab.evaluate(width) > 2 * small
    assert tab.evaluate(visible.format(".word.wrong")) and tab.evaluate(visible.format(".box.missed"))
    tab.click("input[data-part='labels']")
    assert not tab.evaluate(visible.format(".box.missed")) and not tab.evaluate(visible.format(".box.found"))
    assert tab.evaluate(visible.format(".box.wrong"))
    tab.click("input[data-part='detections']")
    assert not tab.evaluate(visible.format(".box.wrong")) and not tab.evaluate(visible.format(".word.wrong"))
    tab.click(".image button")
    assert tab.evaluate(width) == pytest.approx(small, abs=1)
    assert_quiet(tab, path)
    tab.close()


def test_dark_and_light_can_both_be_read(browser: Browser, tmp_path: Path) -> None:
    tab = browser.open(write(tmp_path, make_run()))
    found = {}
    for scheme in ("light", "dark"):
        tab.prefer(prefers_color_scheme=scheme)
        style = "getComputedStyle(document.body)"
        found[scheme] = tab.evaluate(f"[{style}.color, {style}.backgroundColor].map(c => c.match(/\\d+/g).map(Number))")
        ink, paper = (sum(colour[:3]) for colour in found[scheme])
        assert abs(ink - paper) > 450, found
    assert sum(found["light"][1]) > sum(found["dark"][1])
    tab.close()


def test_the_page_says_everything_without_scripts(browser: Browser, tmp_path: Path) -> None:
    run = make_run()
    assert run.metrics is not None
    path = write(tmp_path, run)
    tab = browser.open("about:blank")
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.go(path.resolve().as_uri())
    text = tab.evaluate("document.body.innerText")
    assert f"{run.metrics.f1:.3f}" in text and "Worst" in text and "wasp" in text
    tab.close()
