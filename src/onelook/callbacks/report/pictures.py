"""The section with the worst and best pictures of the final evaluation, their labels and detections drawn as shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from onelook.callbacks.pages.markup import Markup, element, joined, user_text
from onelook.callbacks.pages.page import folded, note, section
from onelook.callbacks.report.examples import Example, ExampleBox
from onelook.callbacks.report.run_record import RunRecord
from onelook.callbacks.report.words import absent, run_heading

LETTER_SHARE = 0.024  # height of letters, of the longest side of the picture
CHOICES = (("truth", "Labels"), ("detections", "Detections"))
KEY = (
    ("right", "right detection"),
    ("wrong", "wrong detection"),
    ("missed", "label that was missed"),
    ("found", "label that was found"),
)


def pictures_section(runs: Sequence[RunRecord]) -> Markup:
    """Where the detectors fail most and least."""
    shown = [(place, run) for place, run in enumerate(runs) if run.examples is not None]
    if not shown:
        nothing = absent(runs[0], "examples.json", without="are no pictures (runs with `noplots` write none)")
        return section("pictures", "Worst and best pictures", nothing)
    content = [_controls()]
    for place, run in shown:
        parts = joined([run_heading(runs, place), _pictures(run)])
        content.append(parts if place == shown[0][0] else folded(f"Pictures of {run.label}", parts))
    return section("pictures", "Worst and best pictures", element("div", *content, class_="gallery"))


def _controls() -> Markup:
    words = (
        "Press a picture to enlarge it, with names and scores. Worst is the lowest F1 within a picture; of equals, the "
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


def _pictures(run: RunRecord) -> Markup:
    examples = run.examples
    assert examples is not None
    parts = [note(f"At a confidence of {examples.confidence:.3f} and an IoU of 0.50.")]
    for title, chosen in (("Worst", examples.worst), ("Best", examples.best)):
        figures = element("div", *(_picture(one, run) for one in chosen), class_="pictures")
        parts += [element("h3", title), figures if chosen else note("There is none.")]
    return joined(parts)


def _picture(example: Example, run: RunRecord) -> Markup:
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
    return element("figure", button, caption, class_="picture")


def _drawn(box: ExampleBox, kind: str, words: str, letters: float) -> list[Markup]:
    """The outline of a box, and its words above it, which only enlarged pictures show."""
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
