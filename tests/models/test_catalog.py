"""Finding a definition by name or file, anchor sets, activations by name, and the numbers of a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from onelook.errors import ModelError
from onelook.models.activations import ACTIVATIONS, parse_activation
from onelook.models.catalog import MODELS, ZOO, find_definition, named_anchors
from onelook.models.count import describe
from onelook.models.detector import create_model


@pytest.mark.parametrize("name", ["yolov5s", "yolov5s.yaml", "yolov5s.yml"])
def test_a_shipped_model_is_found_with_and_without_a_suffix(name: str) -> None:
    content, where = find_definition(name)
    assert content["width_multiple"] == 0.5
    assert where == "yolov5s"


def test_a_file_wins_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ZOO / "yolov3-tiny.yaml").read_text(encoding="utf-8").replace("nc: 80", "nc: 4")
    (tmp_path / "yolov5s.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert find_definition("yolov5s.yaml")[0]["nc"] == 4
    assert create_model(tmp_path / "yolov5s.yaml").num_classes == 4
    assert create_model("yolov5n").num_classes == 80


@pytest.mark.parametrize(
    "name, hint",
    [
        ("yolov5", "did you mean `yolov5"),
        ("yolo5s", "did you mean `yolov5s`"),
        ("models/hub/yolov5-p2.yaml", "did you mean `yolov5-p2`"),
        ("../yolov5s.yaml", "did you mean `yolov5s`"),
        ("anchors", "a file ends in .yaml"),
        ("", "a file ends in .yaml"),
        ("resnet", "a file ends in .yaml"),
        (f"yolov5{'_run' * 40} (copy)", "a file ends in .yaml"),  # an answer in this life
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest_name(name: str, hint: str) -> None:
    with pytest.raises(ModelError) as caught:
        find_definition(name)
    assert f"model `{name}` is neither a shipped name nor a YAML file" in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("- 1\n", "holds no `key: value` lines"),
        ("nc: !!python/name:os.system\n", "tag"),
        ("nc: 80\nnc: 81\n", "given twice"),
        ("nc: 80\nhead: [\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_plain_mapping_is_a_model_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        create_model(path)


@pytest.mark.parametrize(
    "name, maps, first, last",
    [
        ("P5-640", 3, [10, 13], [373, 326]),
        ("P6-640", 4, [9, 11], [512, 387]),
        ("P6-1280", 4, [19, 27], [925, 792]),
        ("P6-1920", 4, [28, 41], [1387, 1187]),
        ("P7-640", 5, [11, 11], [524, 372]),
        ("P7-1280", 5, [19, 22], [1079, 818]),
        ("P7-1920", 5, [29, 34], [1618, 1227]),
        ("tiny-640", 2, [10, 14], [344, 319]),
    ],
)
def test_anchor_sets_hold_three_pairs_per_map(name: str, maps: int, first: list[int], last: list[int]) -> None:
    anchors = named_anchors(name)
    assert [len(row) for row in anchors] == [6] * maps
    assert (anchors[0][:2], anchors[-1][-2:]) == (first, last)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("form", ["{}", "nn.{}", "nn.{}()", " {}( ) "])
def test_every_activation_is_found_in_every_spelling(name: str, form: str) -> None:
    activation = parse_activation(form.format(name))(4)
    assert activation(torch.ones(1, 4, 2, 2)).shape == (1, 4, 2, 2)


@pytest.mark.parametrize(
    "text, attributes",
    [
        ("nn.LeakyReLU(0.1)", {"negative_slope": 0.1, "inplace": False}),
        ("nn.LeakyReLU(negative_slope=1e-2, inplace=True)", {"negative_slope": 0.01, "inplace": True}),
        ("nn.ELU(alpha=2)", {"alpha": 2.0}),
        ("SiLU(inplace=False)", {"inplace": False}),
    ],
)
def test_arguments_of_an_activation_are_read(text: str, attributes: dict[str, object]) -> None:
    activation = parse_activation(text)(4)
    assert {name: getattr(activation, name) for name in attributes} == attributes


@pytest.mark.parametrize(
    "text",
    ["", "nn.", "nn.Conv2d(1,2,3)", "torch.nn.SiLU()", "nn.SiLU(2)", "nn.GELU(inplace=True)", "nn.LeakyReLU(x)",
     "nn.LeakyReLU(0.1, 0.2)", "nn.LeakyReLU(slope=1)", "nn.SiLU().__class__", "nn.ReLU(inplace=1)", "SiLU" * 50],
)  # fmt: skip
def test_other_activation_texts_are_refused(text: str) -> None:
    with pytest.raises(ModelError, match="activation"):
        parse_activation(text)


def test_each_call_of_an_activation_factory_gives_a_fresh_module() -> None:
    make = parse_activation("AconC")
    assert make(4) is not make(4)
    assert isinstance(make(4), nn.Module)


def test_description_of_a_model_names_its_rows() -> None:
    summary = describe("yolov5n6", imgsz=1280)
    assert (summary.strides, summary.imgsz) == ((8, 16, 32, 64), 1280)
    assert summary.gflops == pytest.approx(4 * describe("yolov5n6").gflops)
    assert sum(row.parameters for row in summary.rows) == summary.parameters
    assert [(row.row, row.block, row.repeats, row.channels) for row in summary.rows[:3]] == [
        (0, "Conv", 1, 16),
        (1, "Conv", 1, 32),
        (2, "C3", 1, 32),
    ]
    assert summary.rows[-1].sources == (23, 26, 29, 32)


def test_every_shipped_model_has_a_line_about_it() -> None:
    assert all(10 < len(line) < 80 for line in MODELS.values())
