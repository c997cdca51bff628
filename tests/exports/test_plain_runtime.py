"""The program of the guide, which needs ONNX Runtime and OpenCV alone, gives the boxes of `onelook detect`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from colours import checkpoint_of, colour_detector
from documents import ROOT, Page

from onelook.files.images import write_image
from onelook.recipes.detect import detect
from onelook.recipes.export import export

WEIGHTS = Path("runs/train/exp/weights")


def guide_program() -> str:
    (program,) = [block for block in Page(ROOT / "docs/guides/export.md").blocks("python") if "onnxruntime" in block]
    return program


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the guide assumes it, with a model for 64 x 96 that was exported with NMS."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / WEIGHTS).mkdir(parents=True)
    checkpoint = checkpoint_of(colour_detector(), folder / WEIGHTS / "best.safetensors")
    export({"weights": checkpoint, "imgsz": [64, 96], "device": "cpu", "nms": True})
    return folder


@pytest.mark.parametrize("size_hw", [(97, 200), (200, 97), (64, 96), (40, 30), (400, 700), (333, 500)], ids=str)
def test_the_program_of_the_guide_gives_the_boxes_of_detect(
    size_hw: tuple[int, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = np.random.Generator(np.random.Philox(key=5)).choice([0, 0, 1, 1, 2], (5, 4))
    colours = np.array([[250, 0, 0], [0, 240, 0], [9, 9, 9]], np.uint8)[cells]
    image = colours[np.arange(size_hw[0])[:, None] * 5 // size_hw[0], np.arange(size_hw[1]) * 4 // size_hw[1]]
    image = image - (np.arange(size_hw[1]) % 3 * 3)[:, None].astype(np.uint8) * (image > 20)  # stripes to be averaged
    write_image(folder / "hive.png", image)
    monkeypatch.chdir(folder)
    program = guide_program()
    printed: list[np.ndarray] = []
    exec(program.replace("hive.jpg", "hive.png"), {"print": printed.append})
    given = {"weights": WEIGHTS / "best.onnx", "source": "hive.png", "device": "cpu", "nosave": True}
    found = detect(given).frames[0].detections
    (rows,) = printed
    assert len(rows) == len(found) > 0
    expected = np.concatenate([found.boxes, found.scores[:, None], found.class_ids[:, None]], axis=1)
    by_place = [table[np.lexsort(np.round(table[:, [1, 0, 5]]).T)] for table in (rows, expected)]
    np.testing.assert_allclose(by_place[0][:, :4], by_place[1][:, :4], atol=1e-3)
    np.testing.assert_allclose(by_place[0][:, 4:], by_place[1][:, 4:], atol=1e-5)


def test_the_program_of_the_guide_is_short() -> None:
    lines = [line for line in guide_program().splitlines() if line.strip()]
    assert len(lines) <= 15
    assert all(len(line) <= 120 and ";" not in line for line in lines)
