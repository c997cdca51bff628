"""The section with the worst and best images of the final evaluation, their labels and detections drawn as shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from onelook.reports.examples import Example, ExampleBox
from onelook.reports.pages.markup import Markup, element, joined, user_text
from onelook.reports.pages.page import folded, note, section
from onelook.reports.report_text import absent, run_heading
from onelook.reports.run_record import RunRecord

LETTER_SHARE = 0.024  # height of letters, of the longest side of the image
CHOICES = (("truth", "Labels"), ("detections", "Detections"))
KEY = (
    ("right", "right detection"),
    ("wrong", "wrong detection"),
    ("missed", "label that was missed"),
    ("found", "label that was found"),
)


def images_section(runs: Sequence[RunRecord]) -> Markup:
    """Where the detectors fail most and least."""
    shown = [(place, run) for place, run in enumerate(runs) if run.examples is not None]
    if not shown:
        nothing = absent(runs[0], "examples.json", without="are no images (runs with `noplots` write none)")
        return section("images", "Worst and best images", nothing)
    content = [_controls()]
    for place, run in shown:
        parts = joined([run_heading(runs, place), _images(run)])
        content.append(parts if place == shown[0][0] else folded(f"Images of {run.label}", parts))
    return section("images", "Worst and best images", element("div", *content, class_="gallery"))


def _controls() -> Markup:
    words = (
        "Press an image to enlarge it, with names and scores. Worst is the lowest F1 within an image; of equals, the "
        "most errors."
    )
    boxes = (
        element("label", element("input", type="checkbox", checked=True, data_part=part), title, class_="choice")
        for part, title in CHOICES
    )
    keys = (
        element("span", element("svg", _shape((2, 2, 24, 14), kind), viewBox="0 0 26 16", aria_hidden="true"), words_of)
        for kind, words_of in KEY
    )
    return joined([note(words), element("div", *boxes, class_="choices"), element("div", *keys, class_="key")])


def _images(run: RunRecord) -> Markup:
    examples = run.examples
    assert examples is not None
    parts = [note(f"At a confidence of {examples.confidence:.3f} and an IoU of 0.50.")]
    for title, chosen in (("Worst", examples.worst), ("Best", examples.best)):
        figures = element("div", *(_image(one, run) for one in chosen), class_="images")
        parts += [element("h3", title), figures if chosen else note("There is none.")]
    return joined(parts)


def _image(example: Example, run: RunRecord) -> Markup:
    height, width = example.size_hw
    shapes = [element("image", href=f"data:image/jpeg;base64,{example.jpeg}", width=width, height=height)]
    letters = max(height, width) * LETTER_SHARE
    for box in example.labels:
        shapes += _drawn(
            box, "found" if box.is_right else "missed", "" if box.is_right else run.name_of(box.class_id), letters
        )
    for box in example.detections:
        words = f"{run.name_of(box.class_id)} {box.score or 0:.2f}"
        shapes += _drawn(box, "right" if box.is_right else "wrong", words, letters)
    name = PurePath(example.file).name or example.file
    counts = f"{example.right} found, {example.missed} missed, {example.wrong} wrong"
    drawing = element("svg", *shapes, viewBox=f"0 0 {width} {height}", role="img", aria_label=f"{name}: {counts}")
    button = element("button", drawing, type="button", aria_expanded="false", title="Enlarge")
    caption = element("figcaption", user_text(name), element("small", counts), title=example.file)
    return element("figure", button, caption, class_="image")


def _drawn(box: ExampleBox, kind: str, words: str, letters: float) -> list[Markup]:
    """The polygon of a box, and its words above it, which only enlarged images show."""
    shapes = [_shape(box.box, kind, title=words)]
    if words:
        top = box.box[1] - letters * 0.3
        y = top if top > letters else box.box[1] + letters
        place = {"x": round(max(box.box[0], 0), 1), "y": round(y, 1), "font_size": round(letters, 1)}
        shapes.append(element("text", words, class_=f"word {kind}", **place))
    return shapes


def _shape(box: Sequence[float], kind: str, *, title: str = "") -> Markup:
    left, top, right, bottom = box
    place = {
        "x": round(left, 1),
        "y": round(top, 1),
        "width": round(max(right - left, 0), 1),
        "height": round(max(bottom - top, 0), 1),
    }
    return element("rect", *([element("title", title)] if title else []), class_=f"box {kind}", **place)
