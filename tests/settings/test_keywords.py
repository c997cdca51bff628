"""The keywords of functions in Python: generated from the settings, and checked by mypy."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from mypy import api as mypy

ROOT = Path(__file__).parents[2]
USE = """
import onelook

onelook.train("bees.yaml", cfg="yolov5n", imgsz=320, track="wandb", optimizer="SGD")
onelook.evolve("bees.yaml", evolve=5, epochs=3)
onelook.export("best.safetensors", format=["onnx"], dynamic=True)
onelook.load("best.safetensors", conf_thres=0.3, classes=[0, "bee"])
onelook.train("bees.yaml", batch=8)
onelook.train("bees.yaml", epochs="many")
onelook.load("best.safetensors", save_txt=True)
"""


def test_keywords_are_those_of_the_settings() -> None:
    spec = importlib.util.spec_from_file_location("write_keywords", ROOT / "scripts" / "write_keywords.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.FILE.read_text(encoding="utf-8")
    assert written == script.text(), "settings/keywords.py is out of date: run scripts/write_reference.py"


@pytest.mark.slow
def test_type_checker_knows_the_keywords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPYPATH", str(ROOT / "src"))
    use = tmp_path / "use.py"
    use.write_text(USE, encoding="utf-8")
    said, _, _ = mypy.run([str(use), "--config-file", str(ROOT / "pyproject.toml"), "--follow-imports", "silent"])
    assert [line.split(":")[1] for line in said.splitlines() if ": error:" in line] == ["8", "9", "10"], said
