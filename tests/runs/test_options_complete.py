"""No setting without a test that fails when it is ignored, and no option of YOLOv5's trainer that is not taken.

`scripts/mutate_options.py` shows that the tests do fail.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import test_batch_size
import test_callbacks
import test_convert_data
import test_download
import test_evolve
import test_fix
import test_folds
import test_followed_objects
import test_info
import test_live_report
import test_many_processes
import test_options
import test_options_check
import test_options_detect
import test_options_export
import test_options_head
import test_options_learning
import test_options_loader
import test_options_passes
import test_options_processes
import test_options_renderer
import test_options_teacher
import test_options_time
import test_options_trackers
import test_options_val
import test_options_val_detect
import test_options_wandb
import test_report
import test_restarts
import test_resume
import test_serve
import test_serve_fields
import test_split
import test_unsplit_data
from option_runs import COVERED
from pydantic import BaseModel
from yolov5_options import OPTIONS, Option

from onelook.cli.arguments import ARGUMENTS
from onelook.cli.parser import Parser
from onelook.settings.benchmark import BenchmarkSettings
from onelook.settings.build import build_settings
from onelook.settings.check import CheckSettings
from onelook.settings.command_line import typed_options
from onelook.settings.convert_data import ConvertDataSettings
from onelook.settings.detect import DetectSettings
from onelook.settings.download import DownloadSettings
from onelook.settings.evolve import EvolveSettings, SearchSettings
from onelook.settings.export import ExportSettings
from onelook.settings.folds import FoldsSettings
from onelook.settings.info import InfoSettings
from onelook.settings.report import ReportSettings
from onelook.settings.serve import ServeSettings
from onelook.settings.split import SplitSettings
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings

FILES = (
    test_batch_size,
    test_callbacks,
    test_download,
    test_convert_data,
    test_evolve,
    test_fix,
    test_folds,
    test_followed_objects,
    test_info,
    test_live_report,
    test_many_processes,
    test_options,
    test_options_check,
    test_options_detect,
    test_options_export,
    test_options_head,
    test_options_learning,
    test_options_loader,
    test_options_passes,
    test_options_processes,
    test_options_renderer,
    test_options_teacher,
    test_options_time,
    test_options_trackers,
    test_options_val,
    test_options_val_detect,
    test_options_wandb,
    test_report,
    test_restarts,
    test_resume,
    test_split,
    test_unsplit_data,
    test_serve,
    test_serve_fields,
)
ELSEWHERE = {
    "train": set[str](),
    "val": set[str](),
    "detect": {"half"},  # GPUs only; test_predictor.py
    "evolve": set[str](),
    "info": set[str](),
    "serve": {"half"},  # GPUs only; test_predictor.py
    "export": set[str](),
    "benchmark": set[str](),
    "report": set[str](),
    "check": set[str](),
    "split": set[str](),
    "download": set[str](),
    "convert-data": set[str](),
}


def test_every_file_with_tests_of_settings_is_listed() -> None:
    files = [path for path in Path(__file__).parent.glob("test_*.py") if "\n@covers(" in path.read_text("utf-8")]
    assert {path.stem for path in files} == {file.__name__ for file in FILES}


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("train", FoldsSettings),
        ("val", ValidateSettings),
        ("detect", DetectSettings),
        ("evolve", SearchSettings),
        ("serve", ServeSettings),
        ("info", InfoSettings),
        ("export", ExportSettings),
        ("benchmark", BenchmarkSettings),
        ("report", ReportSettings),
        ("check", CheckSettings),
        ("split", SplitSettings),
        ("download", DownloadSettings),
        ("convert-data", ConvertDataSettings),
    ],
)
def test_every_setting_has_its_test(command: str, kind: type[BaseModel]) -> None:
    tested = {name for of, name in COVERED if of == command}
    assert tested | ELSEWHERE[command] == set(kind.model_fields) and not tested & ELSEWHERE[command]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.setting)
def test_onelook_train_takes_every_option_of_yolov5(option: Option) -> None:
    parser = Parser(prog="onelook train")
    ARGUMENTS["train"](parser)
    for spelling in option.spellings:
        for value in option.values:
            typed = typed_options(parser.parse_args([spelling, *value.split()]), EvolveSettings)
            assert list(typed) == [option.setting]
            kind: type[BaseModel] = SearchSettings if option.command == "evolve" else TrainSettings
            default = kind.model_fields[option.setting].default
            assert getattr(build_settings(kind, typed), option.setting) != default, (spelling, value)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.setting)
def test_every_option_of_yolov5_has_its_test(option: Option) -> None:
    assert COVERED.get((option.command, option.setting))
