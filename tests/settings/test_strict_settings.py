"""Settings that cannot have an effect are refused, and the one that is missing is named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from onelook.errors import SettingsError
from onelook.settings.benchmark import BenchmarkSettings
from onelook.settings.build import build_settings
from onelook.settings.check import CheckSettings
from onelook.settings.export import ExportSettings
from onelook.settings.split import SplitSettings

SPLIT = {"data": "bees.yaml", "output": "parts", "fractions": [0.7, 0.3]}
WEIGHTS, DATA = {"weights": "best.safetensors"}, {"data": "bees.yaml"}
IDLE: list[tuple[type[BaseModel], dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (BenchmarkSettings, WEIGHTS, {"workers": 1}, DATA),
    (CheckSettings, DATA, {"suspicions": 5}, WEIGHTS),
    (CheckSettings, DATA, {"device": "cpu"}, WEIGHTS),
    (CheckSettings, DATA, {"exist_ok": True}, {"output": "page"}),
    (ExportSettings, WEIGHTS, {"max_loss": 1.0}, DATA),
    (ExportSettings, WEIGHTS, {"calibration_images": 5}, {"int8": True, **DATA}),
    (ExportSettings, WEIGHTS, {"conf_thres": 0.5}, {"nms": True}),
]


@pytest.mark.parametrize(("kind", "always", "idle", "needed"), IDLE)
def test_settings_without_effect_are_refused(
    kind: type[BaseModel], always: dict[str, Any], idle: dict[str, Any], needed: dict[str, Any]
) -> None:
    (name,), missing = idle, next(iter(needed))
    with pytest.raises(
        SettingsError, match=f"setting `{name}` has no effect without `{missing}`\nhint: add `--{missing}"
    ):
        build_settings(kind, {**always, **idle})
    assert getattr(build_settings(kind, {**always, **idle, **needed}), name) == idle[name] or name == "data"


def test_fractions_are_refused_where_folds_settle_them() -> None:
    assert build_settings(SplitSettings, SPLIT).fractions == [0.7, 0.3]
    with pytest.raises(SettingsError, match="setting `fractions` has no effect with `folds`\nhint: drop one of them"):
        build_settings(SplitSettings, {**SPLIT, "folds": 5})
