"""Precision against time, over image sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onelook.reports.plots.style import chart, light_grid, line_look, plain_log_axis

HEIGHT_IN = 3.7
MAX_LABELLED_MODELS = 4


def plot_study(curves: Mapping[str, Sequence[tuple[int, float, float]]], path: Path) -> Path:
    """Draw average precision against time (logarithmic), a line for each model; every other size is labelled.

    Args:
        curves: model -> longest side of the images in pixels, smallest first, milliseconds of network and NMS per
            image, and average precision.
    """
    from matplotlib.ticker import LogLocator

    with chart(path, height_in=HEIGHT_IN) as figure:
        axes = figure.subplots()
        axes.set(xlabel="Network and NMS, ms per image", ylabel="mAP50-95")
        light_grid(axes)
        for number, (name, points) in enumerate(curves.items()):
            look = line_look(number)
            _, latency_ms, map50_95 = zip(*points, strict=True)
            axes.plot(latency_ms, map50_95, marker="o", markersize=4, label=name, **look)
            for size, x, y in points[::-2] if len(curves) <= MAX_LABELLED_MODELS else []:
                above: dict[str, Any] = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
                axes.annotate(str(size), (x, y), color=look["color"], fontsize=6, **above)
        plain_log_axis(axes, "x")
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axes.set_ylim(bottom=0)
        axes.margins(y=0.08)
        axes.legend(loc="lower right")
    return path
