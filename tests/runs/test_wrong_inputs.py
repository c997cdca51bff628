"""Wrong command lines, settings, models, weights, devices and places: one clear message each, and nothing changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import Case, Home, refuse, run, state_of, texts

from onelook.errors import StopRequested
from onelook.runs.checkpoint import load_checkpoint, save_checkpoint
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import new_run


def train(*words: object) -> Callable[[Home], list[str]]:
    return lambda home: home.train(*words)


def val(*words: object) -> Callable[[Home], list[str]]:
    return lambda home: home.val(*words)


def detect(*words: object) -> Callable[[Home], list[str]]:
    return lambda home: home.detect(*words)


def words(*words: object) -> Callable[[Home], list[str]]:
    return lambda home: texts(*words)


def with_file(option: str, name: str, content: str) -> Callable[[Home], list[str]]:
    return lambda home: home.train(option, home.file(name, content))


USAGE = [
    Case(
        "ambiguous option",
        train("--save", 3),
        2,
        ("option `--save` is short for `--save-interval` or `--save-period`",),
        "type one of them in full",
    ),
    Case("misspelt option", train("--btach-size=3"), 2, ("`--btach-size`",), "did you mean `--batch-size`?"),
    Case(
        "two misspelt options",
        train("--no-plots", "--mixpu", 1),
        2,
        ("`--no-plots`, `--mixpu`",),
        "`--noplots`, `--mixup`",
    ),
    Case("option of another trainer", val("--dnn"), 2, ("`--dnn`",), "run by ONNX Runtime, not by OpenCV"),
    Case("data for detection", detect("--data", "a.yaml"), 2, ("unknown option `--data`",), "names are in the weights"),
    Case("argument too many", words("val", "fast"), 2, ("unexpected argument `fast`",), "onelook val --help"),
    Case("option without value", train("--epochs"), 2, ("--epochs: expected one argument",), "onelook train --help"),
    Case(
        "no yes or no", train("--rect", "maybe"), 2, ("--rect: `maybe` is neither yes nor no",), "onelook train --help"
    ),
    Case("misspelt command", words("trian"), 2, ("unknown command `trian`",), "did you mean `train`?"),
    Case("no command at all like it", words("fly"), 2, ("unknown command `fly`",), "train, val, detect"),
    Case(
        "check of nothing", words("check"), 2, ("the following arguments are required: DATA",), "onelook check --help"
    ),
    Case(
        "option of another command", words("check", "d.yaml", "--strct"), 2, ("`--strct`",), "did you mean `--strict`?"
    ),
]

SETTINGS = [
    Case("size off the stride", train("--imgsz", 100), 64, ("`imgsz` is 100", "multiple of 32"), "use 128"),
    Case("size below two strides", train("--imgsz", 32), 64, ("`imgsz` is 32", "at least 64"), "use `--imgsz 64`"),
    Case("text for a number", train("--epochs", "many"), 64, ("`epochs` is `many`", "valid integer")),
    Case("no epochs", train("--epochs", 0), 64, ("`epochs` is `0`", "greater than or equal to 1")),
    Case(
        "no images in a batch", train("--batch-size", 0), 64, ("`batch_size` is 0",), "-1 finds what the memory allows"
    ),
    Case("no such optimiser", train("--optimizer", "Lion"), 64, ("`optimizer` is `Lion`", "'SGD', 'Adam' or 'AdamW'")),
    Case(
        "several at once",
        train("--epochs", 0, "--lr0", 2, "--workers", -1, "--freeze", 1, "x"),
        64,
        ("`epochs` is `0`", "`lr0` is `2`", "`workers` is `-1`", "`freeze` number 2 is `x`"),
        "the number of layers that stay as they are",
    ),
    Case("contradiction", train("--rect", "--multi-scale"), 64, ("`rect` and `multi_scale`",), "drop one of them"),
    Case("layer beyond the model", train("--freeze", 3, 12), 64, ("[3, 12]", "has 7 layers"), "layers count from 0"),
    Case(
        "unknown preset", train("--hyp", "scratch-hi"), 64, ("`hyp` is `scratch-hi`",), "did you mean `scratch-high`?"
    ),
    Case(
        "misspelt setting in a file",
        with_file("--settings", "mine.yaml", "epoch: 3\nlr: 0.1\n"),
        64,
        ("`epoch` in file `", "mine.yaml` line 1; did you mean `epochs`?", "mine.yaml` line 2; did you mean `lr"),
    ),
    Case(
        "wrong value in a file",
        with_file("--settings", "mine.yaml", "lr0: fast\n"),
        64,
        ("`lr0` in file `", "mine.yaml` line 1 is `fast`"),
    ),
    Case(
        "wrong value in hyperparameters",
        with_file("--hyp", "h.yaml", "mosaic: 7\n"),
        64,
        ("`mosaic` in file `", "h.yaml` line 1 is `7`"),
    ),
    Case(
        "broken YAML",
        with_file("--settings", "bad.yaml", "lr0: 0.1\nlrf: [\n"),
        64,
        ("bad.yaml` line 3: not valid YAML",),
    ),
    Case(
        "settings twice",
        with_file("--settings", "s.yaml", "lr0: 1\nlr0: 2\n"),
        64,
        ("s.yaml` line 2", "`lr0` is given twice"),
    ),
    Case(
        "missing settings file",
        train("--settings", "no.yaml"),
        64,
        ("file `no.yaml` does not exist",),
        "check the path",
    ),
    Case("validation size", val("--imgsz", 100), 64, ("`imgsz` is `100`", "multiple of 32")),
    Case("validation without weights", words("val"), 64, ("`weights` must be given: checkpoint to validate",)),
    Case("no such task", val("--task", "segment"), 64, ("`task` is `segment`", "'train', 'speed' or 'study'")),
    Case(
        "one class of many",
        val("--single-cls"),
        64,
        ("`single_cls` needs weights of one class", "have 2"),
        "--single-cls",
    ),
    Case("no such class", detect("--classes", 1, 2), 64, ("`classes` names `2`", "classes 0 to 1")),
    Case("image size", detect("--imgsz", 100), 64, ("`imgsz`", "100", "multiples of 32"), "use 128"),
    Case("size by mistake", detect("--imgsz", 640640), 64, ("`imgsz` is 640640", "limit of 16384 pixels"), "--tile"),
    Case("size of training by mistake", train("--imgsz", 640640), 64, ("`imgsz` is `640640`", "16384")),
    Case("half on a CPU", detect("--half"), 64, ("`half` needs a GPU",), "drop `half`"),
    Case("scores without labels", detect("--save-conf"), 64, ("`save_conf` has no effect",), "add `--save-txt`"),
    Case(
        "detection without a source",
        words("detect", "--weights", "w"),
        64,
        ("`source` must be given: files, folders",),
    ),
]

DEVICES = [
    Case("GPU that is not there", train("--device", 77), 69, ("`device` is `77`", "usable GPUs"), "use "),
    Case("no device", train("--device", "gpu"), 64, ("`device` is `gpu`",), "use cpu, mps"),
    Case("GPUs that are not there", train("--device", "77,78"), 69, ("`device` is `77,78`", "usable GPUs"), "use "),
    Case("a GPU twice", train("--device", "0,0"), 64, ("`device` is `0,0`", "twice"), "name each once"),
    Case("too many processes", train("--device", "0,1", "--nproc", 3), 64, ("`nproc` is 3", "2 devices"), "only one"),
    Case("fp16 on a CPU", train("--amp", "fp16"), 64, ("`amp: fp16` needs a GPU", "`cpu`"), "use bf16 or off"),
]

MODELS = [
    Case("unknown model", train("--cfg", "yolov5q"), 64, ("model `yolov5q`",), "did you mean `yolov5"),
    Case("missing model file", train("--cfg", "my.yaml"), 64, ("model `my.yaml`",), "onelook models"),
    Case("unknown name in the list", words("models", "yolov9"), 64, ("model `yolov9`",), "such as `yolox-"),
]


def table_with(line: str) -> Callable[[Home], list[str]]:
    """The tiny model with its third row replaced."""

    def arrange(home: Home) -> list[str]:
        lines = home.model.read_text().replace("  - [-1, 1, Conv, [8, 3, 1]]", line)
        return home.train("--cfg", home.file("bent.yaml", lines))

    return arrange


MODELS += [
    Case("unknown block", table_with("  - [-1, 1, C33, [8]]"), 64, ("bent.yaml`: row 2 (C33)",), "did you mean `C3`?"),
    Case(
        "row from the future",
        table_with("  - [9, 1, C3, [8]]"),
        64,
        ("bent.yaml`: row 2 (C3): `from` is 9",),
        "rows 0 to 1",
    ),
    Case(
        "row of three",
        table_with("  - [-1, 1, C3]"),
        64,
        ("bent.yaml` row 2: `[-1, 1, 'C3']` is not a row",),
        "[from, repeats, block, [arguments]]",
    ),
]


def damaged(change: Callable[[bytes], bytes], name: str = "bad.safetensors") -> Callable[[Home], Path]:
    return lambda home: home.file(name, change(home.weights.read_bytes()))


def flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def foreign(data: bytes) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0\0\0\0"


WEIGHTS: dict[str, tuple[Callable[[Home], Path], tuple[str, ...], str]] = {
    "missing": (lambda home: Path("none.safetensors"), ("`none.safetensors` does not exist",), ""),
    "renamed": (damaged(bytes, "yolov5s.pt"), ("yolov5s.pt` cannot be used: it is a safetensors file",), "name it"),
    "not fetched": (lambda home: Path("yolov5s.pt"), ("weights `yolov5s.pt` do not exist",), "nothing is downloaded"),
    "noise": (damaged(lambda data: bytes(range(256)) * 40), ("bad.safetensors` is damaged",), "use another"),
    "empty": (damaged(lambda data: b""), ("bad.safetensors` is damaged", "too short"), "use another"),
    "half": (damaged(lambda data: data[: len(data) // 2]), ("bad.safetensors` is damaged",), "use another"),
    "flipped bit": (damaged(flipped), ("bad.safetensors` is damaged", "SHA-256"), "use another"),
    "foreign": (damaged(foreign), ("bad.safetensors` is damaged or not a Onelook checkpoint",), "use another"),
    "of the future": (
        damaged(lambda data: data.replace(rb"\"version\":1", rb"\"version\":9")),
        ("bad.safetensors` has format version 9",),
        "use the version of Onelook",
    ),
}
COMMANDS = {"train": Home.train, "val": Home.val, "detect": Home.detect}


def weights_cases() -> list[Case]:
    def arrange(command: str, make: Callable[[Home], Path]) -> Callable[[Home], list[str]]:
        return lambda home: COMMANDS[command](home, "--weights", make(home))

    return [
        Case(f"{name} weights for {command}", arrange(command, make), 3, says, hint)
        for command in COMMANDS
        for name, (make, says, hint) in WEIGHTS.items()
    ]


def of_other_classes(home: Home) -> list[str]:
    home.describe("train: images/train\nval: images/val\nnames: [square, disc, star]\n")
    return home.val()


def of_other_model(home: Home) -> list[str]:
    checkpoint = load_checkpoint(home.weights)
    path = home.work / "other.safetensors"
    document = {key: checkpoint.document[key] for key in ("kind", "names", "definition", "settings")}
    save_checkpoint(path, {f"ema/x{name}": tensor for name, tensor in checkpoint.tensors.items()}, document)
    return home.train("--weights", path)


EXPORTED = damaged(bytes, "yolov5s.onnx")
OTHER_WEIGHTS = [
    Case(
        "exported weights for train",
        lambda home: home.train("--weights", EXPORTED(home)),
        3,
        ("yolov5s.onnx` cannot be used",),
        "give the checkpoint",
    ),
    Case(
        "an export for val that is none",
        lambda home: home.val("--weights", EXPORTED(home)),
        3,
        ("yolov5s.onnx` cannot be used",),
        "export the checkpoint again",
    ),
    Case(
        "an export for detect that is not there",
        lambda home: home.detect("--weights", "none_openvino"),
        3,
        ("none_openvino` does not exist",),
        "",
    ),
    Case(
        "weights of other classes", of_other_classes, 64, ("have 2 classes", "data.yaml` has 3"), "know: square, disc"
    ),
    Case("weights of another model", of_other_model, 3, ("tensor `model.0.conv.weight` is missing",), "another"),
]


def project_is_a_file(command: str) -> Callable[[Home], list[str]]:
    return lambda home: COMMANDS[command](home, "--project", home.file("notes", "mine"))


NO_FOLDER = [
    Case(
        f"{name}: project is a file",
        project_is_a_file(name),
        73,
        ("notes/exp", "cannot be written"),
        "with `--project`",
    )
    for name in COMMANDS
]

PLACES = [
    Case("nothing to resume", train("--resume"), 73, ("nothing to resume", "`runs/train`"), "--resume runs/train/exp"),
    Case("no such run", train("--resume", "runs/train/exp7"), 73, ("run folder `runs/train/exp7` does not exist",)),
    Case(
        "no such numbered checkpoint",
        train("--resume", "runs/train/exp/weights/epoch20.safetensors"),
        3,
        ("checkpoint `runs/train/exp/weights/epoch20.safetensors` does not exist",),
        "--save-period",
    ),
    Case(
        "resume of averaged weights",
        lambda home: texts("train", "--resume", home.weights),
        3,
        ("best.safetensors` holds only the averaged weights",),
        "last.safetensors",
    ),
]


@pytest.mark.parametrize(
    "case", [*USAGE, *SETTINGS, *DEVICES, *MODELS, *weights_cases(), *OTHER_WEIGHTS, *NO_FOLDER, *PLACES], ids=str
)
def test_a_wrong_input_gets_one_clear_message(case: Case, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(case, home, capsys)


def test_a_run_folder_in_use_is_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunDir.create(home.work / "runs", "exp")
    with folder.lock():
        folder.begin(new_run())
        says = (f"runs/exp` is in use by process {os.getpid()} on ",)
        case = Case("in use", lambda home: home.train("--project", "runs", "--exist-ok"), 73, says, "wait for it")
        refuse(case, home, capsys)


def test_a_finished_run_that_is_resumed_is_done_and_not_touched(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home.train("--project", "runs", "--lr0", 0.01), capsys).code == 0
    before = state_of(home.work)
    for place in ("runs/exp", "runs/exp/weights/last.safetensors"):
        outcome = run(texts("train", "--resume", place), capsys)
        assert outcome.code == 0 and outcome.err == "", outcome.err
        assert "run `runs/exp` has finished its epoch; to train longer: `--epochs 2`; nothing to do" in outcome.out
        assert "best weights: runs/exp/weights/best.safetensors" in outcome.out
    outcome = run(texts("train", "--resume", "runs/exp", "--lr0", 0.5), capsys)
    assert outcome.code == 64 and "`lr0` was 0.01 and would become 0.5" in outcome.err and "hint: " in outcome.err
    assert state_of(home.work) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_place_for_runs_is_refused(command: str, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    closed = home.work / "closed"
    closed.mkdir(mode=0o555)
    says = ("closed/exp` cannot be written: Permission denied",)
    refuse(Case(command, lambda w: COMMANDS[command](w, "--project", closed), 73, says, "--project"), home, capsys)


def test_a_bug_is_one_line_and_its_traceback_is_shown_on_demand(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a line\nand another")

    monkeypatch.setattr("onelook.recipes.validate.load_runnable", fail)
    outcome = run(home.val(), capsys)
    assert outcome.code == 70
    assert outcome.err.splitlines()[0].endswith(
        "a bug in Onelook, not your fault: ZeroDivisionError: a line and another"
    )
    assert "ONELOOK_DEBUG=1" in outcome.err and "Traceback" not in outcome.err
    monkeypatch.setenv("ONELOOK_DEBUG", "1")
    outcome = run(home.val(), capsys)
    assert outcome.code == 70 and "Traceback" in outcome.err and "in fail" in outcome.err


@pytest.mark.parametrize(
    ("problem", "code", "says"),
    [
        (MemoryError(), 71, "smaller `--batch-size`"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 71, "not enough memory"),
        (PermissionError(13, "Permission denied", "/secret"), 74, "error: `/secret`: Permission denied\nhint: check"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (StopRequested("stopped on request of SIGINT"), 75, "stopped on request of SIGINT\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_troubles_of_the_machine_are_named(
    home: Home,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException,
    code: int,
    says: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr("onelook.recipes.validate.load_runnable", fail)
    outcome = run(home.val(), capsys)
    assert outcome.code == code and says in outcome.err and "Traceback" not in outcome.err
    assert outcome.err.startswith("error: ") or code in (75, 130), "to be stopped is no error"
