"""No setting without a test that fails when it is ignored."""

from __future__ import annotations

import pytest
import test_callbacks
import test_evolve
import test_options
import test_options_learning
import test_options_loader
import test_options_trackers
import test_options_val_detect
import test_options_wandb
from option_runs import COVERED
from pydantic import BaseModel

from onelook.settings.detect import DetectSettings
from onelook.settings.evolve import SearchSettings
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings

FILES = (
    test_callbacks,
    test_evolve,
    test_options,
    test_options_learning,
    test_options_loader,
    test_options_trackers,
    test_options_val_detect,
    test_options_wandb,
)
ELSEWHERE = {
    "train": {"resume"},  # test_resume.py
    "val": set[str](),
    "detect": {"half"},  # GPUs only; test_predictor.py
    "evolve": set[str](),
}


@pytest.mark.parametrize(
    ("command", "kind"),
    [("train", TrainSettings), ("val", ValidateSettings), ("detect", DetectSettings), ("evolve", SearchSettings)],
)
def test_every_setting_has_its_test(command: str, kind: type[BaseModel]) -> None:
    tested = {name for of, name in COVERED if of == command}
    assert tested | ELSEWHERE[command] == set(kind.model_fields) and not tested & ELSEWHERE[command]
