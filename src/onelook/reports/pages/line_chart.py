"""Curves as SVG that is part of the page: sharp in print, light and dark, with values where the mouse or finger is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onelook.reports.pages.markup import Markup, data_block, element, user_text
from onelook.reports.pages.ticks import tick_text, ticks

WIDTH, HEIGHT = 400, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34
COLOURS, DASHES = 8, 4
MAX_POINTS = 400
NUM_X_TICKS, NUM_Y_TICKS = 5, 4


@dataclass(frozen=True)
class ChartLine:
    """One curve.

    Attributes:
        name: for the legend; escaped.
        x, y: of equal length, x rising; values that are not finite leave a gap.
        colour, dash: which of `COLOURS` and of `DASHES`; both repeat.
        is_faint: a thin line behind the others, left out of the legend.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    dash: int = 0
    is_faint: bool = False


@dataclass(frozen=True)
class Axes:
    """What a chart shows beside its lines.

    Attributes:
        x_label: below the chart.
        x_limits, y_limits: (low, high); None takes those of the values.
        x_is_whole: x counts things.
        mark: (x, word) of a dotted upright line.
        shows_ends: the legend says the last value of each line while none is pointed at.
    """

    x_label: str = "epoch"
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    x_is_whole: bool = True
    mark: tuple[float, str] | None = None
    shows_ends: bool = True


def line_chart(identity: str, title: str, lines: Sequence[ChartLine], axes: Axes) -> Markup:
    """A figure with title, chart and legend; it says so if no line has a value.

    Args:
        identity: unique within the page.
        title: above the chart.
        lines: at most a few tens; those behind come first.
        axes: limits and words.
    """
    shown = [_thinned(line) for line in lines if any(map(math.isfinite, line.y))]
    heading = element("figcaption", title)
    if not shown:
        return element("figure", heading, element("p", "No values.", class_="note"), class_="chart")
    frame = _Frame.around(shown, axes)
    named = [line for line in shown if not line.is_faint]
    data = {
        "x": [frame.x_low, frame.x_high],
        "box": [LEFT, WIDTH - RIGHT],
        "ends": axes.shows_ends,
        "lines": [{"x": list(line.x), "y": [_short(y) for y in line.y]} for line in named],
    }
    drawing = element(
        "svg",
        *_grid(frame, axes),
        *(part for line in shown for part in _curve(line, frame)),
        element("line", class_="cursor", y1=TOP, y2=HEIGHT - BOTTOM, x1=LEFT, x2=LEFT),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=title,
    )
    return element(
        "figure", heading, drawing, _legend(named), data_block(identity, data), class_="chart", data_label=axes.x_label
    )


def swatch(colour: int, dash: int) -> Markup:
    """A short piece of a line, for legends."""
    line = element("line", x1=1, x2=21, y1=5, y2=5, class_=_look(colour, dash))
    return element("svg", line, viewBox="0 0 22 10", class_="swatch", aria_hidden="true")


@dataclass(frozen=True)
class _Frame:
    """Limits of a chart and the way from values to places in it."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @staticmethod
    def around(lines: Sequence[ChartLine], axes: Axes) -> _Frame:
        known = [(x, y) for line in lines for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        x_low, x_high = axes.x_limits or (min(x for x, _ in known), max(x for x, _ in known))
        y_low, y_high = axes.y_limits or _with_margin(min(y for _, y in known), max(y for _, y in known))
        if x_low == x_high:
            x_low, x_high = x_low - 1, x_high + 1
        return _Frame(x_low, x_high, y_low, y_high)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of the drawing; what lies outside stands at the edge."""
        across = (x - self.x_low) / (self.x_high - self.x_low)
        up = min(max((y - self.y_low) / (self.y_high - self.y_low), 0.0), 1.0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _with_margin(low: float, high: float) -> tuple[float, float]:
    """Room above and below the values; from 0 if they come near it."""
    margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if 0 <= low < 0.4 * high else low - margin), high + margin


def _grid(frame: _Frame, axes: Axes) -> list[Markup]:
    parts = []
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in ticks(frame.y_low, frame.y_high, wanted=NUM_Y_TICKS):
        y = round(frame.place(frame.x_low, value)[1], 1)
        parts.append(element("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", tick_text(value), x=LEFT - 6, y=y + 4, class_="tick left"))
    for value in ticks(frame.x_low, frame.x_high, wanted=NUM_X_TICKS, only_whole=axes.x_is_whole):
        x = round(frame.place(value, frame.y_low)[0], 1)
        parts.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(element("text", tick_text(value), x=x, y=bottom + 16, class_="tick"))
    parts.append(element("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
    parts.append(element("text", axes.x_label, x=(LEFT + right) / 2, y=HEIGHT - 3, class_="tick"))
    if axes.mark is not None:
        x = round(frame.place(axes.mark[0], frame.y_low)[0], 1)
        at_left = x > (LEFT + right) / 2
        parts.append(element("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="mark"))
        place = {"x": x - 4 if at_left else x + 4, "y": TOP + 9}
        parts.append(element("text", axes.mark[1], class_=f"tick {'left' if at_left else 'right'}", **place))
    return parts


def _curve(line: ChartLine, frame: _Frame) -> list[Markup]:
    """Polylines between the gaps; a value between two gaps is a dot."""
    look = "faint" if line.is_faint else _look(line.colour, line.dash)
    parts = []
    for run in _runs(line):
        places = [frame.place(x, y) for x, y in run]
        if len(places) == 1:
            parts.append(element("circle", cx=round(places[0][0], 1), cy=round(places[0][1], 1), r=3, class_=look))
        else:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(element("polyline", points=points, class_=look))
    return parts


def _runs(line: ChartLine) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _legend(lines: Sequence[ChartLine]) -> Markup:
    entries = (
        element("li", swatch(line.colour, line.dash), user_text(line.name), element("span", class_="value"))
        for line in lines
    )
    return element("ul", *entries, class_="legend")


def _look(colour: int, dash: int) -> str:
    return f"line c{colour % COLOURS} d{dash % DASHES}"


def _thinned(line: ChartLine) -> ChartLine:
    """Every second point, or third, ...: more than the chart has pixels cannot be seen."""
    every = -(-len(line.x) // MAX_POINTS)
    if every == 1:
        return line
    kept = sorted({*range(0, len(line.x), every), len(line.x) - 1})
    return ChartLine(
        line.name, [line.x[i] for i in kept], [line.y[i] for i in kept], line.colour, line.dash, line.is_faint
    )


def _short(value: float) -> float:
    return float(f"{value:.4g}") if math.isfinite(value) else value
