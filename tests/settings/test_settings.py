"""Settings: one vocabulary in YAML, on the command line and in Python; mistakes are named and all at once."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from onelook.errors import SettingsError
from onelook.files.yaml import dump_yaml
from onelook.settings.build import PRESETS, build_settings
from onelook.settings.command_line import add_options, typed_options
from onelook.settings.detect import DetectSettings
from onelook.settings.evolve import SearchSettings
from onelook.settings.folds import FoldsSettings
from onelook.settings.hyperparameters import Hyperparameters
from onelook.settings.series import storable
from onelook.settings.split import SplitSettings
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings


def from_words(*words: str) -> TrainSettings:
    parser = argparse.ArgumentParser()
    add_options(parser, TrainSettings)
    return build_settings(TrainSettings, typed_options(parser.parse_args(words), TrainSettings))


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--img", "320"], "imgsz", 320),
        (["--img-size", "320"], "imgsz", 320),
        (["--imgsz", "320"], "imgsz", 320),
        (["--batch-size", "8"], "batch_size", 8),
        (["--batch_size", "8"], "batch_size", 8),
        (["--freeze", "0", "3", "5"], "freeze", [0, 3, 5]),
        (["--resume"], "resume", True),
        (["--resume", "runs/train/exp"], "resume", "runs/train/exp"),
        (["--cache"], "cache", "ram"),
        (["--cache", "disk"], "cache", "disk"),
        (["--rect"], "rect", True),
        (["--rect", "no"], "rect", False),
        (["--lr0", "1e-3"], "lr0", 0.001),
        (["--data", "bees.yaml"], "data", Path("bees.yaml")),
        ([], "epochs", 100),
    ],
)
def test_command_line_spellings_reach_the_setting(words: list[str], name: str, value: object) -> None:
    assert getattr(from_words(*words), name) == value


@pytest.mark.parametrize("kind", [TrainSettings, ValidateSettings])
def test_every_setting_is_documented_and_has_an_option(kind: type) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, kind)
    text = parser.format_help()
    for name, field in kind.model_fields.items():
        assert field.description and field.description.endswith("."), name
        assert f"--{name.replace('_', '-')}" in text, name


def test_a_file_is_weaker_than_the_command_and_stronger_than_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("hyp: scratch-high\nmixup: 0.5\nepochs: 7\n")
    settings = build_settings(TrainSettings, {"epochs": 9}, file=file)
    assert (settings.epochs, settings.mixup, settings.copy_paste, settings.lrf) == (9, 0.5, 0.1, 0.1)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_load_and_name_only_known_keys(preset: str) -> None:
    assert build_settings(TrainSettings, {"hyp": preset}).lr0 > 0


def test_the_defaults_are_the_preset_scratch_low() -> None:
    assert build_settings(TrainSettings, {"hyp": "scratch-low"}).model_dump(exclude={"hyp"}) == (
        TrainSettings().model_dump(exclude={"hyp"})
    )
    assert set(Hyperparameters.model_fields) <= set(TrainSettings.model_fields)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 3}, "did you mean `epochs`"),
        ({"batchsize": 3}, "did you mean `batch_size`"),
        ({"batch": 3}, "did you mean `batch_size`"),
        ({"model": "yolov5n"}, "did you mean `weights`, or `cfg` for a model without weights?"),
        ({"conf": 0.3}, "did you mean `conf_thres`"),
        ({"gpu": 0}, "did you mean `device`"),
        ({"epochs": "many"}, "`epochs` is `many`"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"optimizer": "SGDD"}, "'SGD', 'Adam' or 'AdamW'"),
        ({"imgsz": 333}, "use 352"),
        ({"rect": True, "multi_scale": True}, "cannot be used together"),
        ({"hyp": "scratch"}, "did you mean `scratch-"),
        ({"hyp": "objects366"}, "did you mean `objects365`"),
        ({"freeze": [-1]}, "layers count from 0"),
        ({"anchors": 3, "noautoanchor": True}, "forbids"),
        ({"nosave": True, "save_period": 2}, "contradict"),
        ({"lr0": float("nan")}, "lr0"),
    ],
)
def test_mistakes_are_named_with_their_cure(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        build_settings(TrainSettings, given)
    assert message in str(caught.value)


def test_python_may_give_paths_for_text_and_one_number_for_a_list() -> None:
    given = {"weights": Path("a.safetensors"), "cfg": Path("b.yaml"), "data": Path("c.yaml"), "freeze": 10}
    settings = build_settings(TrainSettings, given)
    assert (settings.weights, settings.cfg, settings.freeze) == ("a.safetensors", "b.yaml", [10])
    assert build_settings(DetectSettings, {"weights": "w", "source": Path("shots"), "imgsz": 320}).imgsz == [320]


def test_several_mistakes_are_shown_together() -> None:
    with pytest.raises(SettingsError) as caught:
        build_settings(TrainSettings, {"epochs": 0, "lr0": -1, "workers": -2})
    assert all(name in str(caught.value) for name in ("epochs", "lr0", "workers"))


def test_a_key_without_effect_in_old_files_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "hyp.yaml"
    file.write_text("lr0: 0.02\niou_t: 0.2\n")
    assert build_settings(TrainSettings, {"hyp": str(file)}).lr0 == 0.02
    assert "iou_t" in caplog.text


def test_hyp_takes_the_hyperparameters_of_a_run_from_its_settings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "settings.yaml"
    run = TrainSettings(lr0=0.003, mixup=0.2, epochs=7, imgsz=320)
    file.write_text(dump_yaml(storable(TrainSettings, run.model_dump(mode="json"))))
    taken = build_settings(TrainSettings, {"hyp": file, "mixup": 0.1})
    assert (taken.lr0, taken.mixup, taken.epochs, taken.imgsz) == (0.003, 0.1, 100, 640)
    assert "holds the settings of a run: its hyperparameters are taken, the rest is not" in caplog.text
    file.write_text("lr0: 0.003\nepoch: 7\n")
    with pytest.raises(SettingsError, match=r"`epoch` in file .* line 2"):
        build_settings(TrainSettings, {"hyp": file})


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (TrainSettings, {"data": "https://a.org/d.yaml"}, "`data` is the address `https://a.org/d.yaml`"),
        (TrainSettings, {"weights": Path("https://a.org/a.pt")}, "`weights` is the address `https://a.org/a.pt`"),
        (DetectSettings, {"weights": ["a.pt", "s3://bees/a.pt"]}, "`weights` is the address `s3://bees/a.pt`"),
    ],
)
def test_an_address_where_a_file_is_wanted_is_named_as_it_was_typed(
    kind: type[TrainSettings | DetectSettings], given: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)) as refused:
        build_settings(kind, given)
    assert refused.value.hint is not None and "fetch the file" in refused.value.hint


@pytest.mark.parametrize(
    ("kind", "given", "name"),
    [
        (TrainSettings, {"resume": ""}, "resume"),
        (SearchSettings, {"resume_evolve": ""}, "resume_evolve"),
        (TrainSettings, {"data": ""}, "data"),
        (TrainSettings, {"callbacks": ["a.py", ""]}, "callbacks"),
        (DetectSettings, {"weights": "", "source": "shots"}, "weights"),
        (FoldsSettings, {"folds": ""}, "folds"),
        (SplitSettings, {"data": "bees.yaml", "output": ""}, "output"),
    ],
)
def test_a_path_that_a_script_left_empty_starts_nothing_and_is_not_the_current_folder(
    kind: type[BaseModel], given: dict[str, object], name: str
) -> None:
    with pytest.raises(SettingsError, match=f"setting `{name}` is empty\nhint: "):
        build_settings(kind, given)
    assert build_settings(TrainSettings, {"weights": "", "cfg": "", "hyp": ""}).weights == ""


def test_an_empty_path_in_a_file_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("epochs: 3\nproject: ''\n")
    with pytest.raises(SettingsError, match=r"setting `project` in file `.*s.yaml` line 2 is empty"):
        build_settings(TrainSettings, {}, file=file)


def test_numbers_stand_where_the_command_line_takes_their_text() -> None:
    given = {"device": 0, "name": 7, "imgsz": np.int64(320), "epochs": np.int32(3)}
    settings = build_settings(TrainSettings, given)
    assert (settings.device, settings.name, settings.imgsz, settings.epochs) == ("0", "7", 320, 3)
    assert build_settings(ValidateSettings, {"weights": "a.pt", "data": "a.yaml", "imgsz": np.int64(320)}).imgsz == 320
    assert build_settings(TrainSettings, {"device": torch.device("cuda", 1)}).device == "cuda:1"
    with pytest.raises(SettingsError, match="device"):
        build_settings(TrainSettings, {"device": True})


@pytest.mark.parametrize("path", ["x" * 300, "y/" + "x" * 300, "xyz/" * 1200, "a\0b"])
@pytest.mark.parametrize("name", ["data", "weights", "hyp", "project", "transforms", "resume"])
def test_what_no_disk_can_hold_is_no_path(name: str, path: str) -> None:
    with pytest.raises(SettingsError, match=f"setting `{name}` is no path"):
        build_settings(TrainSettings, {name: Path(path) if name == "project" else path})
    with pytest.raises(SettingsError, match="setting `source` is no path"):
        build_settings(DetectSettings, {"weights": "a.pt", "source": ["a.jpg", path]})
    for source in ("https://example.org/a.jpg?key=" + "x" * 300, "[" + "x" * 300 + "].jpg"):
        assert build_settings(DetectSettings, {"weights": "a.pt", "source": source}).source == [source]
    assert build_settings(TrainSettings, {"device": "0," * 200}).device.startswith("0,0")


def test_a_path_that_is_no_text_and_one_in_a_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="setting `data` is no path: it has a character that is none"):
        build_settings(TrainSettings, {"data": "a\ud800b"})
    (tmp_path / "s.yaml").write_text('epochs: 2\ndata: "a\\0b"\n')
    with pytest.raises(SettingsError, match=r"setting `data` in file .*s.yaml. line 2 is no path"):
        build_settings(TrainSettings, {}, file=tmp_path / "s.yaml")
