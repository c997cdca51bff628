"""What is typed: the beginning of an option will do if it is clear; classes go by number or name."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from colours import colour_detector

from onelook.cli.arguments import ARGUMENTS
from onelook.cli.commands import COMMANDS
from onelook.cli.main import main
from onelook.cli.parser import Parser
from onelook.errors import SettingsError, UsageError
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.settings.build import build_settings
from onelook.settings.detect import DetectSettings
from onelook.settings.serve import ServeSettings


def typed(command: str, *words: str) -> dict[str, object]:
    parser = Parser(prog=f"onelook {command}")
    ARGUMENTS[command](parser)
    given = vars(parser.parse_args([*words]))
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("command", "words", "expected"),
    [
        ("detect", "--conf 0.3 --iou 0.5 --img 320", {"conf_thres": "0.3", "iou_thres": "0.5", "imgsz": ["320"]}),
        ("detect", "--conf=0.3 --agn", {"conf_thres": "0.3", "agnostic_nms": True}),
        ("train", "--batch 8 --epoch 3 --work 0", {"batch_size": "8", "epochs": "3", "workers": "0"}),
        ("val", "--batch_ 8 --conf_thres 0.1", {"batch_size": "8", "conf_thres": "0.1"}),
        ("train", "--name --conf", {}),
    ],
)
def test_the_clear_beginning_of_an_option_is_taken(command: str, words: str, expected: dict[str, object]) -> None:
    if not expected:
        with pytest.raises(UsageError):  # what follows is an option, not a value
            typed(command, *words.split())
        return
    assert typed(command, *words.split()) == expected


@pytest.mark.parametrize(
    ("command", "word", "says"),
    [
        ("detect", "--save", "option `--save` is short for `--save-conf` or `--save-crop` or `--save-csv`"),
        ("train", "--cos=1", ""),
        ("serve", "--batch", "is short for `--batch-size` or `--batch-wait`"),
    ],
)
def test_an_option_that_could_be_several_is_refused_with_all_of_them(command: str, word: str, says: str) -> None:
    if not says:
        assert typed(command, word) == {"cos_lr": True}
        return
    with pytest.raises(UsageError) as caught:
        typed(command, word)
    assert says in caught.value.message and caught.value.hint == "type one of them in full"


@pytest.mark.parametrize("kind", [DetectSettings, ServeSettings])
@pytest.mark.parametrize(
    "given", [["0,1"], ["0", "1"], [0, 1], "red,green", ["Red", " green "], ["red", 1], ("0, green",)]
)
def test_classes_go_by_number_or_name(kind: type[DetectSettings | ServeSettings], given: object) -> None:
    more = {"source": "a.jpg"} if kind is DetectSettings else {}
    settings = build_settings(kind, {"weights": "w.onnx", "classes": given, **more})
    predictor = Predictor(colour_detector(), PredictionSettings(imgsz=64, classes=tuple(settings.classes)))
    image = np.zeros((64, 64, 3), np.uint8)
    image[8:16, 8:16, 0] = image[32:40, 8:16, 1] = 255
    assert sorted(predictor.predict([image])[0].class_ids.tolist()) == [0, 1]
    only = Predictor(colour_detector(), PredictionSettings(imgsz=64, classes=("green",)))
    assert only.predict([image])[0].class_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("gren", "`classes` names `gren`; the model has classes 0 to 1\nhint: did you mean `green`"),
        ("-1", "`-1`"),
        ("2", "`2`"),
    ],
)
def test_a_class_that_is_not_there_is_refused(wanted: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Predictor(colour_detector(), PredictionSettings(imgsz=64, classes=(wanted,)))
    assert says in str(caught.value)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_begins_with_an_example_that_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    example, _, rest = capsys.readouterr().out.partition("\n")
    assert example == f"example: {COMMANDS[command].example}"
    parser = Parser(prog=f"onelook {command}")
    ARGUMENTS[command](parser)
    known = parser.parse_known_args(shlex.split(example)[3:])
    assert known[1] == []
    assert rest.startswith("\nusage: ")


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if command.common])
def test_help_shows_ten_options_and_help_all_the_others(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, "--help"])
    short = capsys.readouterr().out
    options = [line.split()[0].rstrip(",") for line in short.splitlines() if line.startswith("  --")]
    common = [f"--{name.replace('_', '-')}" for name in COMMANDS[command].common.split()]
    assert sorted(options) == sorted(["--help-all", *common])
    main([command, "--help-all"])
    everything = capsys.readouterr().out
    assert everything.startswith(f"example: {COMMANDS[command].example}")
    assert set(options) < {line.split()[0].rstrip(",") for line in everything.splitlines() if line.startswith("  --")}
