"""What `auto` becomes in short and in long runs."""

from __future__ import annotations

import pytest

from onelook.settings.build import build_settings
from onelook.settings.train import TrainSettings
from onelook.training.auto_settings import settle
from onelook.training.families import FAMILIES
from onelook.training.schedule import Schedule

ANCHORS = FAMILIES["Detect"]


@pytest.mark.parametrize(
    ("given", "num_images", "optimizer", "lr0"),
    [
        ({"epochs": 40}, 205, "AdamW", 0.001),
        ({"epochs": 300}, 118287, "SGD", 0.01),
        ({"epochs": 40, "lr0": 0.01}, 205, "SGD", 0.01),
        ({"epochs": 40, "hyp": "scratch-low"}, 205, "SGD", 0.01),
        ({"epochs": 40, "optimizer": "SGD"}, 205, "SGD", 0.01),
        ({"epochs": 40, "optimizer": "Adam", "lr0": 0.002}, 205, "Adam", 0.002),
    ],
)
def test_short_runs_get_adamw_unless_the_user_chose(
    given: dict[str, object], num_images: int, optimizer: str, lr0: float
) -> None:
    settled = settle(build_settings(TrainSettings, given), num_images, ANCHORS, num_classes=3)
    assert (settled.optimizer, settled.lr0) == (optimizer, lr0)


def test_settled_settings_stay_as_they_are() -> None:
    once = settle(build_settings(TrainSettings, {"epochs": 40, "batch_size": 16}), 205, ANCHORS, num_classes=3)
    assert settle(once, 205, ANCHORS, num_classes=3) == once
    assert (once.batch_size, once.nominal_batch) == (16, 16)
    assert Schedule(once, 205).total_updates == 40 * 13


@pytest.mark.parametrize(
    ("given", "num_images", "batch_size"),
    [
        ({"epochs": 60}, 122, 8),
        ({"epochs": 60, "batch_size": 16}, 122, 16),
        ({"epochs": 200}, 122, 16),
        ({"epochs": 300}, 118287, 16),
    ],
)
def test_very_short_runs_take_small_batches_unless_the_user_chose(
    given: dict[str, object], num_images: int, batch_size: int
) -> None:
    settled = settle(build_settings(TrainSettings, given), num_images, ANCHORS, num_classes=3)
    assert settled.batch_size == batch_size
    assert settle(settled, num_images, ANCHORS, num_classes=3) == settled


@pytest.mark.parametrize(
    ("given", "num_images", "expected"),
    [
        ({"epochs": 40, "weights": "a.pt"}, 205, (2.0, 0.2)),
        ({"epochs": 40, "weights": "a.pt", "cls": 0.5}, 205, (0.5, 0.2)),
        ({"epochs": 40, "weights": "a.pt", "close_mosaic": 0}, 205, (2.0, 0.0)),
        ({"epochs": 40, "weights": ""}, 205, (0.5, 0.0)),
        ({"epochs": 40, "weights": "a.pt", "hyp": "scratch-low"}, 205, (0.5, 0.0)),
        ({"epochs": 300, "weights": "a.pt"}, 118287, (0.5, 0.0)),
    ],
)
def test_short_runs_from_weights_take_what_the_family_needs_to_learn_classes(
    given: dict[str, object], num_images: int, expected: tuple[float, float]
) -> None:
    settled = settle(build_settings(TrainSettings, given), num_images, ANCHORS, num_classes=3)
    assert (settled.cls, settled.close_mosaic) == expected


def test_a_family_has_defaults_of_its_own_unless_the_user_chose() -> None:
    def closing(**given: object) -> float:
        return settle(build_settings(TrainSettings, given), 205, FAMILIES["YoloX"], num_classes=3).close_mosaic

    assert (closing(epochs=40), closing(epochs=300), closing(epochs=40, close_mosaic=0.5)) == (0.15, 0.15, 0.5)


def test_new_heads_learn_classes_in_short_runs() -> None:
    def gains(num_images: int, num_classes: int = 3, **given: object) -> tuple[float, float]:
        settings = build_settings(TrainSettings, given)
        settled = settle(settings, num_images, FAMILIES["Look"], num_classes=num_classes)
        return settled.cls, settled.cls_softmax

    assert gains(205, epochs=40) == (1.0, 0)
    assert gains(205, epochs=40, weights="a.pt") == (0.5, 5)
    assert gains(118287, epochs=300, weights="a.pt") == (0.5, 0)
    assert gains(205, epochs=40, weights="a.pt", num_classes=1) == (2.5, 0), "there is nothing to tell apart"
    assert gains(205, epochs=40, weights="a.pt", single_cls=True) == (2.5, 0)
    assert gains(205, epochs=40, weights="a.pt", cls=1.0) == (1, 0), "they were measured together"
    assert gains(205, epochs=40, weights="a.pt", cls_softmax=0.0) == (2.5, 0)
