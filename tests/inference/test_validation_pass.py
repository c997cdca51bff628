"""A pass over a split finds the same with any number of processes, however many detectors look in however many ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thread_group import SECONDS, ThreadGroup, in_threads
from torch import Tensor

from onelook.data.dataset_spec import load_dataset_spec
from onelook.data.scan.rules import ScanOptions
from onelook.data.splits import Splits, read_splits
from onelook.errors import ModelError, SettingsError
from onelook.inference.validation_pass import ValidationPass, as_one, refuse_other_classes
from onelook.models.detector import DetectionModel, create_model
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.settings.validate import ValidateSettings
from onelook.structures.metrics import as_arrays


def eager_model(table: Path, seed: int) -> DetectionModel:
    model = create_model(str(table), names=("square", "disc"), seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def of_the_first(group: ThreadGroup, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What process 0 gives, for all."""
    assert group.table is not None
    group.table.tensors[group.rank] = tensors
    group.table.barrier.wait(SECONDS)
    found: dict[str, Tensor] = group.table.tensors[0]
    group.table.barrier.wait(SECONDS)
    return found


def test_weights_of_one_class_get_the_option_that_they_were_trained_with(tiny_data: Path, tiny_model: Path) -> None:
    model = create_model(str(tiny_model), names=("item",))
    splits = Splits(load_dataset_spec(tiny_data), ("square", "disc"), {})
    with pytest.raises(ModelError, match=r"`w\.pt` have 1 class,") as refused:
        refuse_other_classes(model, splits, ValidateSettings(weights=[Path("w.pt")], data=tiny_data))
    assert refused.value.hint == "use `--single-cls`, as in their training"


@pytest.mark.parametrize("task", ["speed", "study"])
def test_times_are_measured_by_one_process(task: str, tiny_data: Path) -> None:
    settings = ValidateSettings(weights=[Path("a.pt")], data=tiny_data, task=task)  # type: ignore[arg-type]
    splits = Splits(load_dataset_spec(tiny_data), ("square", "disc"), {})
    with pytest.raises(SettingsError, match=f"task `{task}` measures times, which 2 processes would disturb"):
        ValidationPass(settings, splits, ThreadGroup(0, 2, 0), StopSignal())


@pytest.mark.parametrize(
    "extra", [{"save_hybrid": True}, {"augment": True}, {"augment": True, "ensemble": True}], ids=str
)
def test_any_number_of_processes_finds_the_same(
    extra: dict[str, Any], tiny_data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path))
    monkeypatch.setattr(ThreadGroup, "share_tensors", of_the_first)
    models = [eager_model(tiny_model, seed) for seed in ((1, 2) if extra.pop("ensemble", False) else (1,))]
    settings = ValidateSettings(
        weights=[Path(str(number)) for number in range(len(models))], data=tiny_data, imgsz=64, batch_size=1, workers=0,
        **extra,
    )  # fmt: skip
    splits = read_splits(tiny_data, ("val",), options=ScanOptions())
    model = as_one(models, settings)

    def run(group: ProcessGroup) -> Any:
        return ValidationPass(settings, splits, group, StopSignal()).run(model, imgsz=64)

    alone, *shared = in_threads(1, run) + in_threads(4, run)
    assert sum(map(len, alone.detections)) > 50
    for other in shared:
        for one, two in zip(alone.detections, other.detections, strict=True):
            assert np.array_equal(one.boxes, two.boxes) and np.array_equal(one.scores, two.scores)
        numbers = as_arrays(other.metrics)
        assert all(
            np.array_equal(value, numbers[name], equal_nan=True) for name, value in as_arrays(alone.metrics).items()
        )
