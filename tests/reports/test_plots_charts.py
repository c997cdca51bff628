"""Curves, confusion matrices, label statistics and results: whole, readable files for every kind of input."""

from __future__ import annotations

import ast
import math
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from plots_examples import AWKWARD_NAMES, assert_chart, drawn, make_index, make_metrics

from onelook.drawing.palette import class_colour
from onelook.reports import plots
from onelook.reports.plots.confusion_matrix import plot_confusion_matrix
from onelook.reports.plots.curves import KINDS, plot_curve, plot_curves
from onelook.reports.plots.label_statistics import plot_label_correlogram, plot_label_statistics
from onelook.reports.plots.results import plot_results, smoothed
from onelook.reports.plots.style import DPI, chart
from onelook.structures.confusion_cells import cells_of

MANY_NAMES = tuple(f"kind of thing number {number}" for number in range(365))


@pytest.fixture(autouse=True)
def no_warnings() -> object:
    """Matplotlib warns where a layout does not fit or a letter is missing: here, that fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def rows_of(num_epochs: int, *, validated: bool = True) -> list[dict[str, float | None]]:
    rows: list[dict[str, float | None]] = []
    for epoch in range(num_epochs):
        fall = math.exp(-epoch / 20)
        row: dict[str, float | None] = {"epoch": epoch, "x/lr0": 0.1 * fall, "x/lr1": 0.01, "x/lr2": 0.01}
        for part in ("box", "obj", "cls"):
            row[f"train/{part}_loss"] = fall + 0.1
            row[f"val/{part}_loss"] = fall + 0.2 if validated else None
        for name in ("precision", "recall", "mAP_0.5", "mAP_0.5:0.95"):
            row[f"metrics/{name}"] = 1 - fall if validated else math.nan
        rows.append(row)
    return rows


def test_all_four_curves_are_written(tmp_path: Path) -> None:
    paths = plot_curves(make_metrics(3), AWKWARD_NAMES, tmp_path)
    assert [path.name for path in paths] == ["PR_curve.png", "P_curve.png", "R_curve.png", "F1_curve.png"]
    images = [assert_chart(path) for path in paths]
    assert len({image.tobytes() for image in images}) == len(KINDS)


# `test_all_four_curves_are_written` has three classes.
@pytest.mark.parametrize("num_classes", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 20, 365)), 25])
def test_curves_for_any_number_of_classes(tmp_path: Path, num_classes: int) -> None:
    names = [*AWKWARD_NAMES, *MANY_NAMES]
    assert_chart(
        plot_curve(make_metrics(num_classes, num_classes=max(num_classes, 2)), names, tmp_path / "c.png", kind="F1")
    )


def test_the_mean_is_drawn_where_it_lies(tmp_path: Path) -> None:
    """Black stands for the mean alone: it sinks when the recall of the only class does."""
    metrics = make_metrics(1)

    def height_of_black(recall: float) -> float:
        metrics.curves.recall[:] = recall
        image = drawn(plot_curve(metrics, ["a"], tmp_path / "a.png", kind="R"))
        inside = image[20:-120, 200 : image.shape[1] // 3]
        return float(np.argwhere((inside < 40).all(axis=2))[:, 0].mean()) / image.shape[0]

    assert height_of_black(0.9) < 0.2 < height_of_black(0.5) < 0.6


@pytest.mark.parametrize("num_classes", [6, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 29, 40)), 365])
def test_confusion_matrix_for_any_number_of_classes(tmp_path: Path, num_classes: int) -> None:
    names = [*AWKWARD_NAMES, *MANY_NAMES][:num_classes]
    cells = make_metrics(1, num_classes=num_classes).confusion_cells
    image = assert_chart(plot_confusion_matrix(cells, names, tmp_path / "confusion_matrix.png"))
    assert max(image.shape) < 16 * DPI


@pytest.mark.slow  # `test_confusion_cells.py` has which they are
def test_of_many_classes_those_confused_most_are_drawn(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(10_000)]
    cells = np.array([[7, 7, 50], [9_000, 7, 9], [10_000, 123, 4], [5, 10_000, 3]])
    assert_chart(plot_confusion_matrix(cells, names, tmp_path / "a.png"))


def test_confusion_matrix_without_any_box_is_blank_but_whole(tmp_path: Path) -> None:
    assert_chart(plot_confusion_matrix(np.zeros((0, 3), np.int64), AWKWARD_NAMES, tmp_path / "zero.png"))


def test_confusion_cells_are_counts_on_the_colour_of_their_share_and_small_ones_blank(tmp_path: Path) -> None:
    """Class 0 is found always, class 1 in half of the cases; a cell of 0.4 % looks like an empty one."""
    full = np.array([[250, 0, 0], [0, 100, 0], [0, 100, 0]])
    with_speck = np.array([[250, 0, 0], [1, 100, 0], [0, 100, 0]])
    scaled = np.array([[25, 0, 0], [0, 50, 0], [0, 50, 0]])
    with_spot = np.array([[250, 0, 0], [25, 100, 0], [0, 100, 0]])
    images = [
        drawn(plot_confusion_matrix(cells_of(confusion), ["a", "b"], tmp_path / f"{number}.png"))
        for number, confusion in enumerate((full, with_speck, scaled, with_spot))
    ]
    is_other = (images[0] != images[2]).any(axis=2)
    assert 0 < is_other.mean() < 0.02, "the same colours with other numbers"
    is_blank = [(image == 255).all(axis=2) for image in images]
    assert (is_blank[0] != is_blank[1]).mean() < 0.001
    assert (is_blank[0] != is_blank[3]).mean() > 0.02


@pytest.mark.parametrize(
    ("num_classes", "num_labels", "skew"),
    [
        (3, 0, 0.0),
        (20, 900, 2.0),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [(1, 1, 0.0), (6, 50, 0.0), (80, 4000, 1.0), (365, 9000, 1.0)]
        ),
    ],
)
def test_label_statistics_for_any_data(tmp_path: Path, num_classes: int, num_labels: int, skew: float) -> None:
    names = (*AWKWARD_NAMES, *MANY_NAMES)[:num_classes]
    path = plot_label_statistics(make_index(num_classes, num_labels, skew=skew), names, tmp_path / "labels.jpg")
    assert_chart(path)


def test_label_statistics_of_a_split_that_lacks_classes(tmp_path: Path) -> None:
    assert_chart(plot_label_statistics(make_index(3, 40), MANY_NAMES[:200], tmp_path / "labels.png"))


# `test_from_training_to_detection` draws that of a dataset.
@pytest.mark.parametrize("num_labels", [0, pytest.param(2000, marks=pytest.mark.slow)])
def test_label_correlogram(tmp_path: Path, num_labels: int) -> None:
    assert_chart(plot_label_correlogram(make_index(3, num_labels), tmp_path / "labels_correlogram.png"))


# `test_results_leave_out_what_was_not_validated_or_not_finite` has smoothed lines, and epochs without validation.
@pytest.mark.parametrize(
    ("num_epochs", "validated"),
    [(0, True), (1, True), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(5, False), (300, True)])],
)
def test_results_of_any_run(tmp_path: Path, num_epochs: int, validated: bool) -> None:
    assert_chart(plot_results(rows_of(num_epochs, validated=validated), tmp_path / "results.png"))


def test_results_leave_out_what_was_not_validated_or_not_finite(tmp_path: Path) -> None:
    """Two epochs of three have no validation, and the loss of the first is not finite."""
    rows, unvalidated = rows_of(30), rows_of(30, validated=False)
    sparse = [row if epoch % 3 == 0 else unvalidated[epoch] for epoch, row in enumerate(rows)]
    sparse[0] = {**rows[0], **{key: None for key in rows[0] if key.startswith("train/")}}
    bare = [{key: value for key, value in row.items() if value is not None} for row in sparse]
    first = plot_results(sparse, tmp_path / "none.png").read_bytes()
    assert plot_results(bare, tmp_path / "missing.png").read_bytes() == first
    image = drawn(tmp_path / "none.png").astype(np.int64)
    is_val_loss = (image[: image.shape[0] // 2] == np.array(class_colour(0))).all(axis=2)
    assert is_val_loss.sum() > 2000, "the smoothed line is missing"


def test_smoothing_keeps_lines_and_calms_noise() -> None:
    epochs = np.arange(200.0)
    assert np.allclose(smoothed(epochs, 3 * epochs)[20:-20], 3 * epochs[20:-20])
    noise = np.random.Generator(np.random.Philox(key=1)).normal(size=200)
    assert smoothed(epochs, noise).std() < 0.5 * noise.std()


def test_charts_do_not_depend_on_or_change_the_users_matplotlib_settings(tmp_path: Path) -> None:
    metrics = make_metrics(2)
    expected = plot_curve(metrics, ["a", "b"], tmp_path / "a.png", kind="P").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "lines.linestyle": ":", "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert plot_curve(metrics, ["a", "b"], tmp_path / "b.png", kind="P").read_bytes() == expected
        assert dict(matplotlib.rcParams) == before


def test_letters_are_at_least_8_points_on_a_page_7_inches_wide(tmp_path: Path) -> None:
    with chart(tmp_path / "a.png", height_in=2) as figure:
        axes = figure.subplots()
        axes.set(title="t", xlabel="x", ylabel="y")
        axes.plot([0, 1], label="line")
        legend = axes.legend()
        texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *legend.get_texts()]
        assert figure.get_figwidth() <= 7.25
        assert min(text.get_fontsize() for text in texts) >= 8


def test_a_chart_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), chart(tmp_path / "a.png", height_in=2):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", sorted(Path(plots.__file__).parent.glob("*.py")), ids=lambda file: file.name)
def test_matplotlib_is_imported_only_where_it_is_used(file: Path) -> None:
    """It takes seconds; only names of types may be asked for at the top."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert "matplotlib" not in ast.unparse(node)
