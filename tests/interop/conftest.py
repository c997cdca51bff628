"""A detector of two classes and files of it as YOLOv5 writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from yolov5_files import stripped, trained

from onelook.models.detector import DetectionModel

NAMES = ("square", "disc")
SMALLEST = {
    "anchors": [[8, 8, 16, 16]],
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "C3", [8]]],
    "head": [[[1], 1, "Detect", ["nc", "anchors"]]],
}


@pytest.fixture(scope="session")
def tiny_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of all tests with a block of several convolutions, which files may describe wrongly."""
    path = tmp_path_factory.mktemp("blocks") / "tiny.yaml"
    path.write_text(tiny_model.read_text().replace("[-1, 1, Conv, [8, 3, 1]]", "[-1, 1, C3, [8]]"))
    return path


@pytest.fixture(scope="session")
def detector(tiny_model: Path) -> DetectionModel:
    """The tiny model with numbers that no new model has."""
    return trained(tiny_model, NAMES)


@pytest.fixture(scope="session")
def smallest_file() -> bytes:
    """A file of a model with two layers, for tests that read it a thousand times."""
    return stripped(trained(SMALLEST, NAMES))
