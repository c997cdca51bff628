"""Rows with keypoints: with `kpt_shape` their first numbers are the box, without it they are suspected."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from small_dataset import GOOD_ROW, make_dataset

from onelook.data.dataset_spec import load_dataset_spec
from onelook.data.formats.yolo import may_be_keypoints, parse_labels
from onelook.data.scan.index import scan_split
from onelook.errors import DataError
from onelook.recipes.check import check

Rng = np.random.Generator


def row(values: np.ndarray, class_id: int = 0) -> str:
    return f"{class_id} {' '.join(f'{value:.6f}' for value in values)}\n"


def pose(rng: Rng, count: int, columns: int) -> np.ndarray:
    """A box and keypoints in it, some of them not to be seen."""
    size = rng.uniform(0.1, 0.5, 2)
    centre = rng.uniform(size / 2, 1 - size / 2)
    points = centre + size * rng.uniform(-0.5, 0.5, (count, 2))
    points[rng.random(count) < 0.2] = 0
    if columns == 3:
        points = np.concatenate([points, 2.0 * points.any(axis=1, keepdims=True)], axis=1)
    return np.concatenate([centre, size, points.reshape(-1)])


def polygon(rng: Rng, count: int) -> np.ndarray:
    """A polygon around a centre."""
    size = rng.uniform(0.02, 0.4, 2)
    centre = rng.uniform(size, 1 - size)
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, count, endpoint=False)
    radii = size * rng.uniform(0.7, 1, (count, 1))
    return (centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)).reshape(-1)


@pytest.mark.parametrize("shape", [(4, 2), (17, 3), (1, 2), (5, 3)])
def test_with_kpt_shape_the_first_numbers_are_the_box(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = pose(np.random.default_rng(0), *shape)
    make_dataset(tmp_path, {"a": row(values) + GOOD_ROW, "b": row(values)})
    yaml = tmp_path / "data.yaml"
    yaml.write_text(yaml.read_text() + f"kpt_shape: {list(shape)}\n")
    result = scan_split(load_dataset_spec(yaml), "train")
    ledger = result.ledger
    assert np.allclose(result.index.boxes[0], values[:4], atol=1e-6)
    assert len(result.index.polygon_points) == 0
    assert (ledger.rows_as_is, ledger.rows_without_keypoints, ledger.rows_used) == (1, 2, 3)
    assert "2 used without their keypoints" in ledger.summary()


def test_other_numbers_of_columns_are_refused_with_kpt_shape() -> None:
    labels = parse_labels(b"0 0.5 0.5 0.2 0.2 0.5 0.5\n0 0.5 0.5 0.2 0.2 0.5 0.5 2", 1, keypoint_columns=3)
    assert (len(labels), labels.rows_with_keypoints) == (1, 1)
    assert labels.problems[0].reason == "7 columns; with this `kpt_shape` a row has 8, or 5 without keypoints"


def test_clipped_row_with_keypoints_counts_as_clipped() -> None:
    labels = parse_labels(b"0 0.95 0.5 0.2 0.2 0.9 0.5", 1, keypoint_columns=2)
    assert (labels.rows_with_keypoints, labels.problems[0].outcome) == (0, "clipped")


@pytest.mark.parametrize("value", ["17", "[0, 3]", "[4, 4]", "[4]", "[4.0, 2]", "[true, 2]", "x", "[99999999, 3]"])
def test_kpt_shape_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    make_dataset(tmp_path, {"a": GOOD_ROW})
    yaml = tmp_path / "data.yaml"
    yaml.write_text(yaml.read_text() + f"kpt_shape: {value}\n")
    with pytest.raises(DataError, match=r"`kpt_shape` is .*\nhint: .*\[17, 3\]"):
        load_dataset_spec(yaml)


@pytest.mark.parametrize("shape", [(4, 2), (17, 2), (4, 3), (16, 3)])
def test_without_kpt_shape_most_rows_with_keypoints_are_suspected(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    assert np.mean([may_be_keypoints(pose(rng, *shape)) for _ in range(300)]) > 0.6


@pytest.mark.parametrize("count", [4, 6, 12, 40])
def test_few_polygons_are_suspected(count: int) -> None:
    rng = np.random.default_rng(2)
    assert np.mean([may_be_keypoints(polygon(rng, count)) for _ in range(1000)]) < 0.02


def test_suspected_rows_are_findings_and_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(3)
    spec = make_dataset(tmp_path, {name: row(pose(rng, 17, 2)) for name in "abcdef"})
    with caplog.at_level(logging.WARNING):
        scan_split(spec, "train")
    (record,) = caplog.records
    assert "looks like a box and keypoints" in record.getMessage() and "onelook check" in record.getMessage()
    found = [finding for finding in check({"data": spec.path}).diagnosis.findings if finding.kind == "keypoint-row"]
    assert len(found) >= 5 and found[0].line == 1


@pytest.mark.parametrize(
    "text", ["0 0 0 1 0 1 1 0 1", "0 0.5 0.5 1.2 1.3", "0 0.001 0 1 0 1 1.2 0 1"], ids=["polygon", "clipped", "both"]
)
def test_box_that_has_become_the_whole_image_is_a_finding(text: str) -> None:
    assert "whole-image" in [problem.kind for problem in parse_labels(text.encode(), 1).problems]
    assert parse_labels(b"0 0.5 0.5 1 1", 1).problems == ()
