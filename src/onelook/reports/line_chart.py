"""Layout of line charts in SVG: coordinates of lines, ticks and text, and the values for the script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

WIDTH, HEIGHT = 400, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34
COLOURS, DASHES = 8, 4
MAX_POINTS = 400
NUM_X_TICKS, NUM_Y_TICKS = 5, 4
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

Point = tuple[float, float]


@dataclass(frozen=True)
class ChartLine:
    """One curve.

    Attributes:
        x, y: equally long, x rising; values that are not finite leave a gap.
        colour, dash: which of `COLOURS` and of `DASHES`; both repeat.
        is_faint: a thin line behind the others, left out of the legend.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    dash: int = 0
    is_faint: bool = False

    @property
    def look(self) -> str:
        """Its CSS classes."""
        return "faint" if self.is_faint else look(self.colour, self.dash)


@dataclass(frozen=True)
class Axes:
    """The axes of a chart, and what it shows beside its lines.

    Attributes:
        x_limits, y_limits: (low, high); None takes those of the values.
        x_is_whole: ticks of x are whole numbers.
        mark: (x, word) of a dotted vertical line.
        shows_ends: without a pointer, the legend shows the last value of each line.
    """

    x_label: str = "epoch"
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    x_is_whole: bool = True
    mark: tuple[float, str] | None = None
    shows_ends: bool = True


@dataclass(frozen=True)
class Chart:
    """A chart that has been laid out; all coordinates are pixels of a drawing of 400 x 236.

    Attributes:
        identity: unique within the page.
        x_ticks, y_ticks: (pixel, number as it is written).
        mark: (x, word) of a vertical line.
        curves: (CSS classes, points) of each part of a line between gaps, one point as a dot; empty without values.
        legend: (CSS classes, name).
        data: values for `charts.js`.
    """

    identity: str
    title: str
    x_label: str = ""
    x_ticks: tuple[tuple[float, str], ...] = ()
    y_ticks: tuple[tuple[float, str], ...] = ()
    mark: tuple[float, str] | None = None
    curves: tuple[tuple[str, list[Point]], ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    data: dict[str, Any] | None = None
    width, height, left, right, top, bottom = WIDTH, HEIGHT, LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM


def line_chart(identity: str, title: str, lines: Sequence[ChartLine], axes: Axes) -> Chart:
    """A chart of lines; without curves if no line has a value.

    Args:
        lines: at most a few dozen, from back to front.
    """
    shown = [_thinned(line) for line in lines if any(map(math.isfinite, line.y))]
    if not shown:
        return Chart(identity, title)
    known = [(x, y) for line in shown for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    x_low, x_high = axes.x_limits or (min(x for x, _ in known), max(x for x, _ in known))
    y_low, y_high = axes.y_limits or _with_margin(min(y for _, y in known), max(y for _, y in known))
    if x_low == x_high:
        x_low, x_high = x_low - 1, x_high + 1

    def x_px(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def y_px(y: float) -> float:
        up = min(max((y - y_low) / (y_high - y_low), 0.0), 1.0)  # clipped to the edge
        return round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1)

    named = [line for line in shown if not line.is_faint]
    x_ticks = ticks(x_low, x_high, wanted=NUM_X_TICKS, only_whole=axes.x_is_whole)
    return Chart(
        identity=identity,
        title=title,
        x_label=axes.x_label,
        x_ticks=tuple((x_px(x), tick_text(x)) for x in x_ticks),
        y_ticks=tuple((y_px(y), tick_text(y)) for y in ticks(y_low, y_high, wanted=NUM_Y_TICKS)),
        mark=None if axes.mark is None else (x_px(axes.mark[0]), axes.mark[1]),
        curves=tuple((line.look, [(x_px(x), y_px(y)) for x, y in run]) for line in shown for run in _runs(line)),
        legend=tuple((line.look, line.name) for line in named),
        data={
            "x": [x_low, x_high],
            "box": [LEFT, WIDTH - RIGHT],
            "ends": axes.shows_ends,
            "lines": [
                {"x": list(line.x), "y": [float(f"{y:.4g}") if math.isfinite(y) else None for y in line.y]}
                for line in named
            ],
        },
    )


def look(colour: int, dash: int) -> str:
    """CSS classes of a line."""
    return f"line c{colour % COLOURS} d{dash % DASHES}"


def ticks(low: float, high: float, *, wanted: int = 5, only_whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`, both included where they are round; about as many as `wanted`.

    Args:
        low, high: finite, `low` below `high`.
        wanted: more than one.
        only_whole: whole numbers only, for epochs and other counts.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(0.0, 3.0, only_whole=True)
    [0.0, 1.0, 2.0, 3.0]
    """
    power = 10.0 ** math.floor(math.log10((high - low) / wanted))
    step = next(power * part for part in STEPS if power * part >= (high - low) / wanted * (1 - 1e-9))
    if only_whole:
        step = max(1.0, float(math.ceil(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) + 0.0 for number in range(first, last + 1)]


def tick_text(value: float) -> str:
    """How an axis writes a number: short, without needless zeros.

    >>> [tick_text(value) for value in (0.0, 0.25, 1500.0, 25000.0, 0.00001)]
    ['0', '0.25', '1500', '25k', '1e-5']
    """
    if abs(value) >= 10000:
        return f"{value / 1000:.6g}k"
    if 0 < abs(value) < 0.001:
        digits, _, power = f"{value:.3e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.6g}"


def _with_margin(low: float, high: float) -> tuple[float, float]:
    """Limits with a margin; from 0 if the values come near it."""
    margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if 0 <= low < 0.4 * high else low - margin), high + margin


def _runs(line: ChartLine) -> list[list[Point]]:
    """The parts of a line between its gaps."""
    runs: list[list[Point]] = [[]]
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _thinned(line: ChartLine) -> ChartLine:
    """Every n-th point of a line with more points than the chart has pixels."""
    every = -(-len(line.x) // MAX_POINTS)
    if every == 1:
        return line
    kept = sorted({*range(0, len(line.x), every), len(line.x) - 1})
    return replace(line, x=[line.x[i] for i in kept], y=[line.y[i] for i in kept])
