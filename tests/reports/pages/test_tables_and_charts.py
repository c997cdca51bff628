from __future__ import annotations

import json
import math
import re

import pytest
from hostile_names import HOSTILE_NAMES, Reader

from onelook.reports.pages.line_chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Axes,
    ChartLine,
    line_chart,
)
from onelook.reports.pages.tables import Cell, number, table
from onelook.reports.pages.ticks import tick_text, ticks

NAN = math.nan


def points_of(chart: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'<polyline points="([^"]*)"', chart)
    return [[tuple(map(float, place.split(","))) for place in line.split()] for line in lines]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 0.001), (-3, 7), (0.97, 0.98), (0, 1e6), (1.23e4, 3.1e4), (1e-9, 2e-9), (0, 299)]
)
def test_ticks_are_few_round_rising_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 7 and found == sorted(set(found))
    margin = 1e-9 * (high - low)
    assert all(low - margin <= tick <= high + margin for tick in found)
    assert all(len(tick_text(tick)) <= 7 for tick in found)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 2), (0, 9), (3, 299), (-1, 1)])
def test_ticks_of_counts_are_whole(low: float, high: float) -> None:
    assert all(tick == int(tick) for tick in ticks(low, high, only_whole=True))


def test_a_line_runs_from_corner_to_corner_of_its_limits() -> None:
    chart = line_chart("c", "t", [ChartLine("a", [0, 10], [0.0, 1.0])], Axes(x_limits=(0, 10), y_limits=(0, 1)))
    assert points_of(chart) == [[(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]]


def test_gaps_part_a_line_and_a_value_alone_is_a_dot() -> None:
    chart = line_chart("c", "t", [ChartLine("a", range(6), [1.0, 2.0, NAN, 3.0, NAN, math.inf])], Axes())
    assert len(points_of(chart)) == 1 and len(points_of(chart)[0]) == 2
    assert chart.count("<circle") == 1


@pytest.mark.parametrize("y", [[], [NAN], [math.inf, NAN]])
def test_a_chart_without_values_says_so(y: list[float]) -> None:
    assert "No values." in line_chart("c", "t", [ChartLine("a", range(len(y)), y)], Axes())


@pytest.mark.parametrize("y", [[0.0], [5.0], [3.0, 3.0], [-2.0, -2.0], [1e-12, 2e-12], [1e9, 3e9]])
def test_equal_tiny_and_huge_values_stay_inside_the_frame(y: list[float]) -> None:
    chart = line_chart("c", "t", [ChartLine("a", range(len(y)), y)], Axes())
    places = [place for line in points_of(chart) for place in line]
    places += [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', chart)]
    assert places and all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in places)


def test_long_lines_are_thinned_and_keep_their_ends() -> None:
    chart = line_chart("c", "t", [ChartLine("a", range(10_001), [float(i) for i in range(10_001)])], Axes())
    (line,) = points_of(chart)
    assert len(line) <= MAX_POINTS + 1
    data = json.loads(re.findall(r'<script type="application/json" id="c">(.*?)</script>', chart)[0])
    assert data["lines"][0]["x"][0] == 0 and data["lines"][0]["x"][-1] == 10_000


def test_faint_lines_are_drawn_but_not_named() -> None:
    chart = line_chart(
        "c", "t", [ChartLine("quiet", [0, 1], [0.0, 1.0], is_faint=True), ChartLine("loud", [0, 1], [1.0, 0.0])], Axes()
    )
    assert len(points_of(chart)) == 2
    assert "loud" in chart and "quiet" not in chart


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_charts_and_tables_take_names_as_text(name: str) -> None:
    axes = Axes(x_label=name, mark=(0.5, name))
    drawn = Reader(line_chart("c", name, [ChartLine(name, [0, 1], [0.0, 1.0])], axes))
    assert {tag for tag, _ in drawn.tags} == {
        "figure", "figcaption", "svg", "line", "text", "polyline", "ul", "li", "bdi", "span", "script",
    }  # fmt: skip
    read = Reader(table([name], [[name], [Cell(name, title=name, kind="best")]], label=name))
    assert {tag for tag, _ in read.tags} == {"div", "table", "thead", "tbody", "tr", "th"}


def test_cells_have_their_shade_and_kind() -> None:
    text = table(["a", "b"], [["x", Cell("1", shade=0.5, kind="best")], ["y", Cell("2", shade=NAN)]], label="t")
    assert '<td class="number shade-10 best">1</td>' in text
    assert '<td class="number">2</td>' in text


def test_numbers_are_written_alike() -> None:
    assert [number(0.5), number(None), number(-math.inf), number(12345.6, 1)] == ["0.500", "–", "–", "12,345.6"]
