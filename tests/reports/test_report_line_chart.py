"""Where the lines, dots and ticks of a chart stand."""

from __future__ import annotations

import math

import pytest

from onelook.reports.html import environment
from onelook.reports.line_chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Axes,
    Chart,
    ChartLine,
    line_chart,
    tick_text,
    ticks,
)

NAN = math.nan


def lines_of(chart: Chart) -> list[list[tuple[float, float]]]:
    return [points for _, points in chart.curves if len(points) > 1]


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
    assert lines_of(chart) == [[(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]]


def test_gaps_part_a_line_and_a_value_alone_is_a_dot() -> None:
    chart = line_chart("c", "t", [ChartLine("a", range(6), [1.0, 2.0, NAN, 3.0, NAN, math.inf])], Axes())
    assert len(lines_of(chart)) == 1 and len(lines_of(chart)[0]) == 2
    assert len(chart.curves) == 2


@pytest.mark.parametrize("y", [[], [NAN], [math.inf, NAN]])
def test_a_chart_without_values_says_so(y: list[float]) -> None:
    drawn = line_chart("c", "t", [ChartLine("a", range(len(y)), y)], Axes())
    source = '{% from "parts.html" import chart %}{{ chart(drawn) }}'
    assert "No values." in environment().from_string(source).render(drawn=drawn)


@pytest.mark.parametrize("y", [[0.0], [5.0], [3.0, 3.0], [-2.0, -2.0], [1e-12, 2e-12], [1e9, 3e9]])
def test_equal_tiny_and_huge_values_stay_inside_the_frame(y: list[float]) -> None:
    chart = line_chart("c", "t", [ChartLine("a", range(len(y)), y)], Axes())
    points = [point for _, part in chart.curves for point in part]
    assert points and all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in points)


def test_long_lines_are_thinned_and_keep_their_ends() -> None:
    chart = line_chart("c", "t", [ChartLine("a", range(10_001), [float(i) for i in range(10_001)])], Axes())
    (line,) = lines_of(chart)
    assert len(line) <= MAX_POINTS + 1
    assert chart.data is not None
    data = chart.data
    assert data["lines"][0]["x"][0] == 0 and data["lines"][0]["x"][-1] == 10_000


def test_faint_lines_are_drawn_but_not_named() -> None:
    chart = line_chart(
        "c", "t", [ChartLine("quiet", [0, 1], [0.0, 1.0], is_faint=True), ChartLine("loud", [0, 1], [1.0, 0.0])], Axes()
    )
    assert len(lines_of(chart)) == 2
    assert [name for _, name in chart.legend] == ["loud"]
