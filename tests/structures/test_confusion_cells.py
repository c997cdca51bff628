"""A confusion matrix as its cells: the same numbers, in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np

from onelook.metrics.detection_metrics import evaluate
from onelook.structures.confusion_cells import as_document, cells_of, matrix_of, most_confused, sum_of_cells
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

RNG = np.random.default_rng(3)
MATRICES = [RNG.integers(0, 4, (9, 9)) * RNG.integers(0, 2, (9, 9)) for _ in range(3)]


def test_matrices_survive_as_cells_alone_and_added() -> None:
    parts = [cells_of(matrix) for matrix in MATRICES]
    assert all(np.array_equal(matrix_of(cells, 8), matrix) for cells, matrix in zip(parts, MATRICES, strict=True))
    assert np.array_equal(sum_of_cells(parts), cells_of(sum(MATRICES)))
    assert as_document(parts[0], 8) == {"confusion": MATRICES[0].tolist()}
    assert as_document(np.array([[2, 1, 5]]), 1001) == {"confusion_cells": [[2, 1, 5]]}


def test_the_most_confused_classes_keep_their_counts_and_the_others_are_one() -> None:
    matrix = MATRICES[0]
    wrong = matrix * (1 - np.eye(9, dtype=np.int64))
    mistakes = (wrong.sum(axis=0) + wrong.sum(axis=1))[:8]
    cells, chosen = most_confused(cells_of(matrix), 8, 3)
    assert sorted(mistakes[chosen]) == sorted(np.sort(mistakes)[-3:])
    found, kept = matrix_of(cells, 4), np.array([*chosen, 8])
    assert np.array_equal(found[np.ix_([0, 1, 2, 4], [0, 1, 2, 4])], matrix[np.ix_(kept, kept)])
    assert np.array_equal(found.sum(axis=0)[[0, 1, 2, 4]], matrix.sum(axis=0)[kept]), "shares of a class stay"


def test_an_evaluation_of_10_000_classes_takes_little_memory() -> None:
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    labels = [ImageLabels(box, np.array([9_000], np.int64), None)]
    found = [Detections(box.astype(np.float32), np.array([0.9], np.float32), np.array([7], np.int64))]
    tracemalloc.start()
    metrics = evaluate(labels, found, num_classes=10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (metrics.confusion_cells.tolist(), metrics.num_classes) == ([[7, 9_000, 1]], 10_000)
    assert peak < 300e6, f"{peak / 1e6:.0f} MB"
