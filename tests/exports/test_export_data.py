"""The images that an export is compared on, and their classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from onelook.errors import ModelError
from onelook.exports.export_data import read_export_data
from onelook.models.detector import create_model
from onelook.processes.stop_signal import StopSignal
from onelook.settings.export import ExportSettings


@pytest.mark.parametrize(
    ("names", "classes"), [(["square", "disc"], {0, 1}), (["item"], {0})], ids=["two classes", "all as one"]
)
def test_data_have_the_classes_of_the_training(
    names: list[str], classes: set[int], tiny_data: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    settings = ExportSettings(weights=Path("best.safetensors"), data=str(tiny_data))
    data = read_export_data(settings, create_model(tiny_model, names=names), (64, 64), stop=StopSignal())
    assert set(data.val.class_ids.tolist()) == classes
    assert ("count as one" in caplog.text) == (len(classes) == 1)


def test_one_class_of_another_name_is_not_all_classes(tiny_data: Path, tiny_model: Path) -> None:
    settings = ExportSettings(weights=Path("best.safetensors"), data=str(tiny_data))
    with pytest.raises(ModelError, match="have 1 class,"):
        read_export_data(settings, create_model(tiny_model, names=["disc"]), (64, 64), stop=StopSignal())
