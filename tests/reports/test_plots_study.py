"""Precision against time: a point for each size, in the colour of its model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from onelook.drawing.palette import class_colour
from onelook.reports.plots.study import plot_study

Curves = dict[str, list[tuple[int, float, float]]]


def drawn(curves: Curves, folder: Path) -> npt.NDArray[np.uint8]:
    image = cv2.imread(str(plot_study(curves, folder / "study.png")))
    assert image is not None
    return image[..., ::-1]


def columns_of(image: npt.NDArray[np.uint8], number: int) -> npt.NDArray[np.int64]:
    """Columns of the chart, without its legend, that have the colour of a curve."""
    width = image.shape[1] * 8 // 10
    return np.nonzero((image[:, :width] == class_colour(number)).all(axis=2).any(axis=0))[0]


def test_slower_sizes_and_models_stand_further_right(tmp_path: Path) -> None:
    quick, slow = [(256, 1.0, 0.2), (384, 2.0, 0.3)], [(256, 10.0, 0.3), (384, 200.0, 0.4)]
    image = drawn({"quick": quick, "slow": slow}, tmp_path)
    assert columns_of(image, 0).max() < columns_of(image, 1).min()


@pytest.mark.parametrize(
    "curves",
    [
        {"one size": [(256, 3.0, 0.5)]},
        {"nothing labelled": [(256, 3.0, float("nan")), (384, 4.0, float("nan"))]},
        {f"model {number}": [(256, 1.0 + number, 0.1), (384, 5.0, 0.2)] for number in range(9)},
    ],
    ids=lambda curves: next(iter(curves)),
)
def test_any_number_of_models_and_sizes(curves: Curves, tmp_path: Path) -> None:
    assert (drawn(curves, tmp_path) != 255).any()
