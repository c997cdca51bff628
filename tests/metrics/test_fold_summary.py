"""Numbers of several folds, summed up: against the standard library's statistics."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest

from onelook.metrics.fold_summary import CLASS_MEASURES, MEASURES, Spread, spread, sum_up
from onelook.structures.confusion_cells import cells_of
from onelook.structures.metrics import DetectionMetrics, MetricCurves


def metrics_of(class_ids: list[int], seed: int) -> DetectionMetrics:
    """Numbers that no two folds share; 3 classes are known."""
    rng = np.random.default_rng(seed)
    count = len(class_ids)
    curves = MetricCurves(*(np.zeros(1) for _ in range(6)))
    nothing = DetectionMetrics(
        **dict.fromkeys(("map_small", "map_medium", "map_large"), math.nan),
        **{name: float(rng.random()) for name in MEASURES if name != "fitness"},
        **{name: rng.random(count) for name in CLASS_MEASURES.values()},
        class_ids=np.array(class_ids),
        class_num_images=rng.integers(1, 9, count),
        class_num_labels=rng.integers(10, 90, count),
        num_images=int(rng.integers(10, 90)),
        num_labels=int(rng.integers(100, 900)),
        best_confidence=0.5,
        curves=curves,
        num_classes=3,
        confusion_cells=cells_of(rng.integers(0, 9, (4, 4))),
    )
    return replace(nothing)


@pytest.mark.parametrize("values", [[0.25, 0.5], [0.1, 0.7, 0.4], list(np.random.default_rng(0).random(10))])
def test_spread_is_mean_and_sample_standard_deviation_and_range(values: list[float]) -> None:
    found = spread(values)
    assert found.mean == pytest.approx(statistics.fmean(values), rel=1e-15)
    assert found.sd == pytest.approx(statistics.stdev(values), rel=1e-14)
    assert (found.lowest, found.highest) == (min(values), max(values))


def test_equal_numbers_deviate_by_nothing_at_all() -> None:
    assert spread([0.1] * 7).sd == pytest.approx(0.0, abs=1e-16) and spread([1 / 3] * 2).sd == 0.0


@pytest.mark.parametrize(
    ("values", "mean", "is_known"),
    [([], math.nan, False), ([math.nan], math.nan, False), ([0.5], 0.5, False), ([math.nan, 0.5, 0.25], 0.375, True)],
)
def test_numbers_that_are_none_are_left_out(values: list[float], mean: float, is_known: bool) -> None:
    found = spread(values)
    assert found.mean == mean or (math.isnan(mean) and math.isnan(found.mean))
    assert math.isfinite(found.sd) == is_known


def test_summary_covers_every_measure_and_adds_up_the_counts() -> None:
    folds = [metrics_of([0, 1, 2], seed) for seed in range(4)]
    summary = sum_up(folds)
    assert summary.num_images == sum(fold.num_images for fold in folds)
    assert summary.num_labels == sum(fold.num_labels for fold in folds)
    total = sum(fold.confusion for fold in folds)
    assert (summary.confusion_cells == cells_of(np.asarray(total))).all()
    for name in MEASURES:
        values = [getattr(fold, name) for fold in folds]
        assert summary.spreads[name] == spread(values), name


def test_a_class_is_summed_up_over_the_folds_that_have_it() -> None:
    folds = [metrics_of([0, 2], 1), metrics_of([2], 2), metrics_of([0, 2], 3)]
    first, last = sum_up(folds).classes
    assert (first.class_id, first.num_folds, last.class_id, last.num_folds) == (0, 2, 2, 3)
    assert first.num_labels == int(folds[0].class_num_labels[0] + folds[2].class_num_labels[0])
    assert last.num_images == sum(int(fold.class_num_images[-1]) for fold in folds)
    for name, attribute in CLASS_MEASURES.items():
        values = [float(getattr(fold, attribute)[-1]) for fold in folds]
        assert last.spreads[name] == Spread(*vars(spread(values)).values()), name
        assert last.spreads[name].mean == pytest.approx(statistics.fmean(values))
