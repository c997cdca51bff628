"""How a list of transforms may be written, and what is said if it is wrong."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from onelook.errors import SettingsError
from onelook.settings.build import build_settings
from onelook.settings.command_line import add_options, as_arguments, typed_options
from onelook.settings.train import TrainSettings
from onelook.settings.transforms import COMPOSITIONS, PIXEL_TRANSFORMS, SHAPE_TRANSFORMS

BLUR = {"name": "Blur", "p": 0.01, "blur_limit": 7}
GREY = {"name": "ToGray", "p": 1}
EITHER = {"name": "OneOf", "p": 0.5, "transforms": [BLUR, {"name": "Sequential", "transforms": [GREY, GREY]}]}
TEXT = "[{name: Blur, p: 0.01, blur_limit: 7}, {name: ToGray, p: 1}]"


def read(value: Any) -> list[dict[str, Any]]:
    return build_settings(TrainSettings, {"transforms": value}).transforms


@pytest.mark.parametrize(
    "value", [[BLUR, GREY], (BLUR, GREY), TEXT, [TEXT], ["{name: Blur, p: 0.01, blur_limit: 7}", GREY]]
)
def test_lists_and_texts_are_read_alike(value: Any) -> None:
    assert read(value) == [BLUR, GREY]


def test_files_are_read_joined_and_stored_as_the_list(tmp_path: Path) -> None:
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    files[0].write_text(f"transforms: {TEXT}\n")
    files[1].write_text(f"transforms:\n- {json.dumps(EITHER)}\n")
    assert read(files[0]) == read([str(files[0])]) == [BLUR, GREY]
    assert read([*files, GREY]) == [BLUR, GREY, EITHER, GREY]
    settings = build_settings(TrainSettings, {"transforms": files})
    files[0].unlink()
    stored = settings.model_dump(mode="json")
    assert build_settings(TrainSettings, stored).transforms == settings.transforms, "a resumed run needs no file"


def test_a_file_of_hyper_parameters_may_hold_them(tmp_path: Path) -> None:
    hyp = tmp_path / "hyp.yaml"
    hyp.write_text(f"lr0: 0.1\ntransforms: {TEXT}\n")
    assert build_settings(TrainSettings, {"hyp": hyp}).transforms == [BLUR, GREY]
    assert build_settings(TrainSettings, {"hyp": hyp, "transforms": "[]"}).transforms == []


def test_what_is_typed_is_read_and_written_again(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, TrainSettings)
    file = tmp_path / "mine.yaml"
    file.write_text(f"transforms: {TEXT}\n")

    def typed(*words: str) -> list[dict[str, Any]]:
        return read(typed_options(parser.parse_args(words), TrainSettings)["transforms"])

    assert typed("--transforms", str(file)) == typed("--transforms", TEXT) == [BLUR, GREY]
    assert typed(*as_arguments({"transforms": [BLUR, EITHER]})) == [BLUR, EITHER]


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ([{"name": "Blurr"}], "transform 1 of `transforms` is `Blurr`, which is not offered", "`Blur`"),
        ([BLUR, {"name": "Lambda"}], "transform 2 of `transforms` is `Lambda`, which is not offered", ""),
        ([{"name": "__class__"}], "is `__class__`, which is not offered", "known are AdditiveNoise"),
        ([{"p": 1}], "has no `name`", "write `{name: Blur, p: 0.01}`"),
        (["{Blur: 1}"], "has no `name`", ""),
        ([3], "transform 1 of `transforms` is `3`, which has no `name`", ""),
        ([{"name": "Blur", "p": 2}], "`p` is `2`, which is not a probability", "from 0 to 1"),
        ([{"name": "Blur", "p": True}], "`p` is `True`", ""),
        ([{"name": "OneOf"}], "take a list `transforms`", ""),
        ([{"name": "Blur", "transforms": [GREY]}], "take a list `transforms`, no others do", ""),
        ([{"name": "OneOf", "transforms": []}], "a list that is not empty", ""),
        ([{"name": "OneOf", "transforms": [GREY, {"name": "Blu"}]}], "number 2 of its `OneOf` is `Blu`", "`Blur`"),
        ([{"name": "Blur", "blur_limit": {1, 2}}], "not numbers, words, lists", ""),
        ([{"name": "Blur", "blur_limit": float("nan")}], "not numbers, words, lists", ""),
        ("[{name: Blur, p: ]", "setting `transforms` line 1: not valid YAML", ""),
        ("[!!python/object:os.system {}]", "YAML tag", ""),
        ("missing.yaml", "file `missing.yaml` does not exist", ""),
    ],
)
def test_what_is_wrong_is_said(
    value: Any, message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as caught:
        read(value)
    assert message in caught.value.message and hint in (caught.value.hint or "")


def test_compositions_nest_only_so_deep() -> None:
    nested: dict[str, Any] = GREY
    for _ in range(3):
        nested = {"name": "Sequential", "transforms": [nested]}
    assert read([nested]) == [nested]
    with pytest.raises(SettingsError, match="nested up to 4 deep"):
        read([{"name": "Sequential", "transforms": [nested]}])


def test_a_file_with_other_settings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hyp.yaml"
    file.write_text(f"lr0: 0.1\ntransforms: {TEXT}\n")
    with pytest.raises(SettingsError, match="has to hold a list under `transforms` and nothing else") as caught:
        read(file)
    assert "--hyp" in str(caught.value.hint)


def test_names_are_in_one_group_each() -> None:
    assert not PIXEL_TRANSFORMS & SHAPE_TRANSFORMS and not COMPOSITIONS & (PIXEL_TRANSFORMS | SHAPE_TRANSFORMS)
