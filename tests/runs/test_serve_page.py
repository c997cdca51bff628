"""The page of the service in a browser: images in, boxes out, and nothing asked elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import Browser, Tab
from http_asking import ask

from onelook.recipes.serve import Service, serving
from onelook.runs.checkpoint import load_checkpoint, save_checkpoint

HOSTILE = "<img src=x onerror=document.title='broken'>"


@pytest.fixture(scope="module")
def service(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose detector has a class with a hostile name."""
    checkpoint = load_checkpoint(tiny_weights)
    weights = tmp_path_factory.mktemp("hostile") / "shapes.safetensors"
    document = {key: value for key, value in checkpoint.document.items() if key != "sha256"}
    save_checkpoint(weights, checkpoint.tensors, {**document, "names": ["square", HOSTILE]})
    given = {"weights": weights, "port": 0, "imgsz": 64, "device": "cpu", "conf_thres": 0.001, "max_det": 12}
    with serving(given) as running:
        yield running


@pytest.fixture
def tab(browser: Browser, service: Service) -> Iterator[Tab]:
    opened = browser.open(service.url)
    yield opened
    assert opened.errors == []
    assert {url.rsplit("/", 1)[0] for url in opened.requests} == {service.url}
    opened.close()


@pytest.fixture
def sample_image(tmp_path: Path) -> Path:
    """A wide image of squares on a hill."""
    image = np.full((300, 480, 3), (235, 225, 210), np.uint8)
    cv2.circle(image, (240, 520), 320, (110, 160, 90), -1)
    for x, y, half in ((90, 170, 45), (250, 150, 60), (400, 190, 38)):
        cv2.rectangle(image, (x - half, y - half), (x + half, y + half), (40, 200, 60), -1)
    path = tmp_path / "squares.png"
    cv2.imwrite(str(path), image)
    return path


def shown(tab: Tab) -> list[str]:
    """Labels of the boxes, the strongest first."""
    labels: list[str] = tab.evaluate("[...document.querySelectorAll('.box b')].map(b => b.textContent).reverse()")
    return labels


def test_page_shows_what_the_service_finds(tab: Tab, service: Service, sample_image: Path, tmp_path: Path) -> None:
    assert tab.evaluate("document.title") == "Onelook"
    assert tab.wait_for("model.textContent") == "shapes.safetensors · 2 classes"
    tab.drop(sample_image, "#drop")
    tab.wait_for("document.querySelector('.box') && image.complete")
    found = ask(service.url, "POST", "/detect", sample_image.read_bytes()).json["detections"]
    assert shown(tab) == [f"{item['name']} {item['score']:.2f}" for item in found]
    places = tab.evaluate(
        "(whole => [...document.querySelectorAll('.box')].reverse().map(box => box.getBoundingClientRect())"
        ".map(box => [box.left - whole.left, box.top - whole.top, box.right - whole.left, box.bottom - whole.top]"
        ".map((side, axis) => side * (axis % 2 ? 300 / whole.height : 480 / whole.width))))"
        "(document.getElementById('image').getBoundingClientRect())"
    )
    np.testing.assert_allclose(places, [item["box"] for item in found], atol=0.5)
    assert tab.evaluate("getComputedStyle(document.querySelector('.box')).borderTopColor") in (
        "rgb(213, 94, 0)", "rgb(0, 114, 178)",
    )  # fmt: skip
    screenshot = cv2.imread(str(tab.screenshot(tmp_path / "found.png")))
    assert screenshot.shape == (800, 1280, 3)
    assert np.abs(screenshot.astype(int) - [60, 200, 40][::-1]).max(2).min() < 30, "the image is not to be seen"


def test_names_of_classes_are_text(tab: Tab, sample_image: Path) -> None:
    tab.drop(sample_image, "#drop")
    tab.wait_for("document.querySelector('.box')")
    assert tab.evaluate("document.querySelectorAll('#boxes img, #found img, #chips img').length") == 0
    assert any(label.startswith(HOSTILE) for label in shown(tab))
    assert tab.evaluate("document.title") == "Onelook"


def test_slider_and_classes_choose_what_is_shown(tab: Tab, sample_image: Path) -> None:
    tab.choose(sample_image, "#file")
    tab.wait_for("document.querySelector('.box')")
    everything = shown(tab)
    tab.click("#chips button")
    fewer = shown(tab)
    assert 0 < len(fewer) < len(everything)
    tab.click("#chips button")
    assert shown(tab) == everything
    tab.click("#found li")
    assert tab.evaluate("[...document.querySelectorAll('.lit')].map(lit => lit.tagName)") == ["DIV", "LI"]
    tab.evaluate("least.value = 1, least.dispatchEvent(new Event('input'))")
    assert (shown(tab), tab.evaluate("count.textContent")) == ([], "Nothing found")


def test_page_says_why_an_image_is_refused(tab: Tab, sample_image: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.png"
    wrong.write_bytes(sample_image.read_bytes()[:300])
    tab.drop(wrong, "#drop")
    text = tab.wait_for("!problem.hidden && problem.textContent")
    assert text.startswith("this image cannot be used") and text.endswith("\nsend a JPEG, PNG or WebP")
    assert tab.evaluate("shown.hidden && !hello.hidden")
    assert [error for error in tab.errors if "422" in error] == tab.errors  # the browser's own note of the answer
    tab.errors.clear()
    tab.drop(sample_image, "#drop")
    tab.wait_for("document.querySelector('.box') && problem.hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (820, 1180), (1440, 900)])
def test_page_fits_every_screen(
    browser: Browser, service: Service, sample_image: Path, scheme: str, width: int, height: int
) -> None:
    tab = browser.open(service.url, width=width, height=height, mobile=width < 900)
    tab.prefer(prefers_color_scheme=scheme)
    tab.wait_for("model.textContent")
    for step in ("empty", "found"):
        if step == "found":
            tab.drop(sample_image, "#drop")
            tab.wait_for("document.querySelector('.box') && image.complete")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        cut = "[...document.querySelectorAll('button, .button, h2, #least')].filter(part => part.offsetParent).filter("
        cut += "part => { const box = part.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth; })"
        assert tab.evaluate(f"{cut}.length") == 0
        if shots := os.environ.get("ONELOOK_SCREENSHOTS"):
            tab.screenshot(Path(shots) / f"service-{step}-{scheme}-{width}.png", whole=True)
    tab.close()
