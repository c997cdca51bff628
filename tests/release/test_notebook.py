"""The notebook of the examples runs from its first cell to its last, and shows a detection."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS = 'DATA, EPOCHS, IMGSZ = "bccd/data.yaml", 25, 320'
FEWER_IMAGES = 24


@pytest.mark.slow
def test_the_quickstart_ends_with_the_drawn_detections_of_the_model_it_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shutil.copytree(EXAMPLES / "bccd", tmp_path / "bccd")
    for image in sorted((tmp_path / "bccd" / "images" / "train").iterdir())[FEWER_IMAGES:]:
        image.unlink()
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    assert sum(cell.source.count(SETTINGS) for cell in notebook.cells) == 1
    for cell in notebook.cells:
        cell.source = cell.source.replace(SETTINGS, 'DATA, EPOCHS, IMGSZ = "bccd/data.yaml", 1, 64')
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output["data"] for output in outputs if output["output_type"] == "execute_result"]
    assert "ready for training" in shown[0]["text/plain"]
    assert "report.html" in shown[1]["text/html"]
    assert {"RBC", "WBC", "Platelets"} == set(ast.literal_eval(shown[2]["text/plain"]))
    assert shown[3]["image/png"].startswith("iVBORw0KGgo")
