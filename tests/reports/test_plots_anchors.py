"""The image of labels and anchors: whole and readable for any data, and it shows what is out of reach."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from plots_examples import assert_chart

from onelook.reports.plots.anchors import plot_anchors
from onelook.training.autoanchor import AnchorFit, measure_anchors

P5 = np.array([[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]], float)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Matplotlib warns where a layout does not fit: here, that fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def fit_of(sizes: np.ndarray, maps: int = 3, anchors: int = 3) -> AnchorFit:
    side = np.geomspace(8, 400, maps * anchors).reshape(maps, anchors)
    return measure_anchors(sizes, np.stack([side, side], axis=2), anchor_t=4.0)


@pytest.mark.parametrize(
    ("sizes", "maps"),
    [
        (np.zeros((0, 2)), 3),
        pytest.param(np.array([[30.0, 40.0]]), 1, marks=pytest.mark.slow),
        (np.random.default_rng(0).lognormal(3, 1, (5000, 2)), 5),
        (np.array([[0.0, 0.001], [1e4, 1e4]]), 2),
    ],
    ids=["no labels", "one label", "many", "extremes"],
)
def test_any_labels_and_any_number_of_maps(tmp_path: Path, sizes: np.ndarray, maps: int) -> None:
    fits = {"Anchors of my-model": fit_of(sizes, maps), "New anchors": fit_of(sizes, maps, anchors=5)}
    strides = [2 ** (3 + number) for number in range(maps)]
    path = plot_anchors(sizes, fits, strides, tmp_path / "a.png", anchor_t=4.0, imgsz=640)
    assert assert_chart(path).shape[1] <= 7.3 * 200


def test_what_no_anchor_reaches_is_grey(tmp_path: Path) -> None:
    sizes = np.array([[50.0, 50.0]] * 10)
    anchors = P5.reshape(3, 3, 2)

    def grey(anchor_t: float) -> float:
        fits = {"Anchors": measure_anchors(sizes, anchors, anchor_t=anchor_t)}
        path = plot_anchors(sizes, fits, [8, 16, 32], tmp_path / f"{anchor_t}.png", anchor_t=anchor_t, imgsz=640)
        return float((assert_chart(path) == round(0.93 * 255)).all(axis=2).mean())

    assert grey(1.3) > grey(4.0) + 0.1 > 0.15
