"""What a family settles about a run: its loss, its own defaults, and which settings it makes no use of."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from onelook.losses.points.distance_loss import DistanceLoss
from onelook.models.detector import create_model
from onelook.settings.train import TrainSettings
from onelook.training.families import create_loss, report_without_effect
from onelook.training.schedule import Schedule
from onelook.training.state import initial_state


@pytest.mark.parametrize(
    ("name", "settings", "named"),
    [
        ("yolox-nano", {"anchor_t": 3.0, "auto_balance": True}, "ends with YoloX: `anchor_t`, `auto_balance`"),
        ("yolox-nano", {"box": 0.1, "obj": 0.7, "label_smoothing": 0.1}, ""),
        ("yolov5n", {"anchor_t": 3.0, "auto_balance": True}, ""),
        ("onelook5n", {"obj": 0.7}, ""),
        ("onelook5n", {"obj": 0.7, "no_one": True}, "ends with Look: `obj`"),
    ],
)
def test_settings_without_effect_are_named(
    name: str, settings: dict[str, Any], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = create_model(name, num_classes=2, one_to_one=not settings.get("no_one", False))
    with caplog.at_level(logging.WARNING):
        report_without_effect(model, TrainSettings(**settings))
    assert (named in caplog.text) if named else not caplog.text


@pytest.mark.parametrize(
    ("epochs", "close_mosaic", "expected"),
    [(20, 0.15, 17), (3, 0.15, 2), (2, 0.15, 1), (1, 0.15, 1), (4, 0, 4), (4, 1, 0)],
)
def test_at_least_one_epoch_is_without_mosaic_if_any(epochs: int, close_mosaic: float, expected: int) -> None:
    assert TrainSettings(epochs=epochs, close_mosaic=close_mosaic).mosaic_epochs == expected


def test_raw_boxes_are_learnt_in_the_epochs_without_mosaic() -> None:
    model = create_model("yolox-nano", num_classes=2)
    schedule = Schedule(TrainSettings(epochs=20, close_mosaic=0.15), 160)
    loss = create_loss(model, schedule.settings, closing=schedule.closing_share)
    assert loss.l1_from == pytest.approx(17 / 20)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("num_images", "weights", "share"), [(160, "", 1.0), (16000, "", 0.4), (160, "a.safetensors", 0.0)]
)
def test_from_scratch_the_first_2000_updates_are_early(num_images: int, weights: str, share: float) -> None:
    settings = TrainSettings(epochs=20, batch_size=16, nominal_batch=64, optimizer="SGD", weights=weights)
    state = initial_state(
        create_model("onelook5n", num_classes=2),
        settings,
        Schedule(settings, num_images),
        device=torch.device("cpu"),
        amp=None,
    )
    assert isinstance(state.loss, DistanceLoss) and state.loss.early_share == pytest.approx(share)
