"""Wrong datasets, images, labels and sources: one clear message each, and nothing of the user's changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_runs import Case, Home, refuse, run, state_of, texts

SPLITS = "train: images/train\nval: images/val\n"


def described(content: str, *words: object) -> Callable[[Home], list[str]]:
    """Training on the dataset with another YAML."""

    def arrange(home: Home) -> list[str]:
        home.describe(content)
        return home.train(*words)

    return arrange


def changed(
    change: Callable[[Home], object], command: Callable[..., list[str]] = Home.train
) -> Callable[[Home], list[str]]:
    """A command on the dataset after a change."""

    def arrange(home: Home) -> list[str]:
        change(home)
        return command(home)

    return arrange


def check(home: Home, *words: object) -> list[str]:
    return texts("check", home.yaml, *words)


def empty_train(home: Home) -> None:
    for image in (home.data / "images" / "train").iterdir():
        image.rename(image.with_suffix(".jpg.bak"))


def no_labels(home: Home) -> None:
    for label in (home.data / "labels" / "train").iterdir():
        label.unlink()


def few_labels(home: Home) -> None:
    for number in range(11):
        home.label(number=number).unlink()


def all_broken(home: Home) -> None:
    for image in (home.data / "images" / "train").iterdir():
        image.write_bytes(image.read_bytes()[:500])


def wrong_classes(home: Home) -> None:
    home.label(number=3).write_text("0 0.5 0.5 0.2 0.2\n\n2 0.5 0.5 0.1 0.1\n")
    home.label(number=7).write_text("17 0.5 0.5 0.2 0.2\n")


DATASETS = [
    Case(
        "missing dataset",
        lambda w: w.train("--data", "no/d.yaml"),
        65,
        ("no/d.yaml` does not exist",),
        "check the path",
    ),
    Case(
        "missing dataset of check",
        lambda w: texts("check", "d.yaml"),
        65,
        ("d.yaml` does not exist",),
        "check the path",
    ),
    Case(
        "missing dataset of val",
        lambda w: w.val("--data", "d.yaml"),
        65,
        ("d.yaml` does not exist",),
        "check the path",
    ),
    Case("archive", lambda w: w.train("--data", w.file("d.zip", "PK")), 65, ("d.zip` is an archive",), "unpack it"),
    Case(
        "folder without a YAML",
        lambda w: w.train("--data", w.work),
        65,
        ("holds no dataset in a known layout", "data.yaml, or exactly one other .yaml file"),
        "describe it in a YAML",
    ),
    Case(
        "an image as dataset",
        lambda w: w.train("--data", w.image()),
        65,
        ("000.jpg` is not text: it may be an image",),
        "give a YAML file",
    ),
    Case("YAML with a hole", described("train: [\nnames: x\n"), 65, ("data.yaml` line 3: not valid YAML",)),
    Case(
        "YAML that runs code",
        described("a: !!python/name:os.system x\n"),
        65,
        ("data.yaml` line 1", "tag"),
        "plain values only",
    ),
    Case(
        "no val",
        described("train: images/train\nnames: [a, b]\n"),
        65,
        ("data.yaml`: `val` is missing",),
        "train and val are required",
    ),
    Case(
        "misspelt key",
        described(SPLITS + "nmaes: [a, b]\n"),
        65,
        ("unknown key `nmaes`; did you mean `names`?",),
        "the keys are",
    ),
    Case("no names", described(SPLITS), 65, ("data.yaml`: `names` is None",), "write `names: [cat, dog]`"),
    Case(
        "too few names",
        described(SPLITS + "nc: 2\nnames: [a, b, c]\n"),
        65,
        ("`nc` is 2, but `names` has 3",),
        "drop `nc`",
    ),
    Case("names twice", described(SPLITS + "names: [a, a]\n"), 65, ("class names are given twice: `a`: ids 0, 1",)),
    Case(
        "a name that YAML misreads",
        described(SPLITS + "names: [yes, b]\n"),
        65,
        ("0: True",),
        "write such names in quotes",
    ),
    Case("ids with a gap", described(SPLITS + "names: {0: a, 2: b}\n"), 65, ("must run from 0 to 1; missing 1",)),
    Case(
        "missing folder",
        described("train: pics\nval: images/val\nnames: [a, b]\n"),
        65,
        ("`train` names `", "data/pics`, which does not exist"),
        "relative entries start at `path`",
    ),
    Case(
        "web address",
        described("train: https://x.org/a\nval: images/val\nnames: [a, b]\n"),
        65,
        ("`https://x.org/a`; data are never downloaded",),
        "fetch the data yourself",
    ),
    Case(
        "download not run",
        described("train: pics\nval: pics\nnames: [a, b]\ndownload: rm -rf /\n"),
        65,
        ("data/pics`, which does not exist",),
        "`download` key, which Onelook never runs",
    ),
    Case(
        "no such split",
        lambda w: (w.describe(SPLITS + "names: [a, b]\n"), w.val("--task", "test"))[1],
        65,
        ("has no split `test`; it has train, val",),
        "add a line `test: ",
    ),
    Case(
        "no images",
        changed(empty_train),
        65,
        ("split `train`", "no images: searched `", "found 20 x .bak"),
        "check the folder",
    ),
    Case(
        "no labels",
        changed(no_labels),
        65,
        ("20 of 20 images have no label file", "labels/train/000.txt`"),
        "add `--allow-unlabelled`",
    ),
    Case(
        "half of the labels missing",
        changed(few_labels),
        65,
        ("11 of 20 images have no label file", "labels/train/000.txt`"),
        "add `--allow-unlabelled`",
    ),
    Case(
        "every image broken",
        changed(all_broken),
        65,
        ("split `train`: no image can be used", "000.jpg`: the file ends", "019.jpg`: the file ends"),
        "`onelook check` counts them",
    ),
    Case(
        "wrong classes",
        changed(wrong_classes),
        65,
        ("class ids 2, 17 are not below the 2 classes", "003.txt` line 3", "007.txt` line 1"),
        "count from 0 (square) to 1 (disc)",
    ),
    Case(
        "wrong classes in val",
        changed(lambda w: w.label("val").write_text("5 0.5 0.5 0.1 0.1\n"), Home.val),
        65,
        ("split `val`: class ids 5", "000.txt` line 1"),
        "to 1 (disc)",
    ),
    Case(
        "wrong classes in check",
        changed(wrong_classes, check),
        65,
        ("class ids 2, 17", "003.txt` line 3"),
        "--single-cls",
    ),
]

SOURCES = [
    Case(
        "missing source",
        lambda w: w.detect("--source", "no.jpg"),
        65,
        ("source `no.jpg` does not exist",),
        "current folder",
    ),
    Case(
        "stream that does not answer",
        lambda w: w.detect("--source", "rtsp://bee:secret@127.0.0.1:1/hive"),
        65,
        ("stream `rtsp://127.0.0.1:1/hive` cannot be opened",),
        "user and password",
    ),
    Case(
        "camera",
        lambda w: w.detect("--source", 999),
        65,
        ("source `999` is a camera number that is too high",),
        "0 to 255",
    ),
    Case(
        "folder without images",
        lambda w: w.detect("--source", w.data),
        65,
        ("no image or video in folder", "1 file of other kinds (.yaml 1)"),
        "folders in it are not searched; a pattern does that",
    ),
    Case(
        "pattern that fits nothing",
        lambda w: w.detect("--source", "*.jpg"),
        65,
        ("no image or video in pattern `*.jpg`",),
        "known are",
    ),
    Case(
        "list with a wrong line",
        lambda w: w.detect("--source", w.file("l.txt", f"{w.image()}\nno.png\n")),
        65,
        ("line 2: `no.png` does not exist",),
    ),
    Case("no such folder to split", lambda w: texts("autosplit", "pics"), 65, ("pics` is not a folder",)),
    Case("nothing to split", lambda w: texts("autosplit", w.work), 65, ("work` has no images",)),
    Case(
        "parts that do not add up",
        lambda w: texts("autosplit", w.data, "--fractions", 0.9, 0.2, 0),
        65,
        ("(0.9, 0.2, 0.0)", "add up to 1"),
    ),
    Case(
        "list there already",
        lambda w: (w.file("autosplit_val.txt", "mine\n"), texts("autosplit", w.data))[1],
        65,
        ("autosplit_val.txt` exists already",),
        "give another output folder",
    ),
]


@pytest.mark.parametrize("case", [*DATASETS, *SOURCES], ids=str)
def test_a_wrong_dataset_or_source_gets_one_clear_message(
    case: Case, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(case, home, capsys)


@dataclass(frozen=True)
class Flaw:
    """One bad image or label row among good ones.

    Attributes:
        name: of the test.
        file: to write, below the dataset.
        content: of the file.
        says: file, line and reason, as the user is told.
    """

    name: str
    file: str
    content: Callable[[bytes], bytes]
    says: str

    def __str__(self) -> str:
        return self.name


def row(text: str) -> Callable[[bytes], bytes]:
    return lambda old: old + text.encode() + b"\n"


LABEL, IMAGE = "labels/train/004.txt", "images/train/004.jpg"
FLAWS = [
    Flaw("8 columns", LABEL, row("0 .1 .1 .2 .2 .3 .3 .4"), "004.txt` line {line}: 8 columns; a box has 5"),
    Flaw("6 columns", LABEL, row("0 .5 .5 .2 .2 .9"), "004.txt` line {line}: 6 columns"),
    Flaw("not a number", LABEL, row("0 .5 .5 nan .2"), "004.txt` line {line}: column 4 is `nan`, not a number"),
    Flaw("pixels", LABEL, row("0 50 50 20 20"), "004.txt` line {line}: the centre is outside the image"),
    Flaw("negative class", LABEL, row("-1 .5 .5 .2 .2"), "004.txt` line {line}: class id `-1`"),
    Flaw("no area", LABEL, row("1 .5 .5 0 .2"), "004.txt` line {line}: no area"),
    Flaw("UTF-16 labels", LABEL, lambda old: old.decode().encode("utf-16"), "004.txt`: the file is UTF-16"),
    Flaw("half a JPEG", IMAGE, lambda old: old[: len(old) // 2], "004.jpg`: the JPEG is truncated"),
    Flaw("text called JPEG", IMAGE, lambda old: b"<html>404</html>", "004.jpg`: "),
    Flaw("empty image", IMAGE, lambda old: b"", "004.jpg`: "),
    Flaw("name that is no UTF-8", "images/train/b\udcffd.jpg", lambda old: b"GIF", "b\\xffd.jpg`: "),
]
STRICT = {"train": Home.train, "check": check}
TRAINED_WITHOUT = ("8 columns", "half a JPEG")
"""A bad row and a bad image: how the others are told, the readers' own tests say."""
SHOWN = (*TRAINED_WITHOUT, "UTF-16 labels", "name that is no UTF-8")


def spoil(flaw: Flaw, home: Home) -> str:
    """Write the flaw; what the user must be told."""
    path = home.data / flaw.file
    content = flaw.content(path.read_bytes() if path.exists() else b"")
    path.write_bytes(content)
    return flaw.says.format(line=content.count(b"\n"))


@pytest.mark.parametrize(
    "flaw", [flaw if flaw.name in SHOWN else pytest.param(flaw, marks=pytest.mark.slow) for flaw in FLAWS], ids=str
)
def test_one_flaw_is_told_and_left_out_or_with_strict_refused(
    flaw: Flaw, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    says = spoil(flaw, home)
    before = state_of(home.data)
    if flaw.name in TRAINED_WITHOUT:
        outcome = run(home.train("--project", "runs"), capsys)
        assert outcome.code == 0, outcome.err
        warnings = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
        assert len(warnings) == 1 and says in warnings[0] and "left out" in warnings[0], outcome.err
        assert Path("runs/exp/weights/best.safetensors").is_file()
    for name, command in STRICT.items():
        outcome = run(command(home, "--strict"), capsys)
        assert outcome.code == 65 and says in outcome.err, outcome.err
        assert "hint: fix them, or leave out `--strict` to continue without them" in outcome.err, name
    assert "Traceback" not in outcome.err and not Path("runs/train").exists()
    assert state_of(home.data) == before


def test_names_that_are_no_utf8_are_used_like_any_other(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    strange = Path(os.fsdecode(b"caf\xe9 \xff.jpg"))
    home.image().rename(home.image().with_name(strange.name))
    home.label().rename(home.label().with_name(strange.with_suffix(".txt").name))
    outcome = run(home.train("--project", "runs"), capsys)
    assert outcome.code == 0 and outcome.err == "", outcome.err
    assert "20 images: 20 with labels" in outcome.out
    outcome = run(home.detect("--source", home.data / "images" / "train", "--conf-thres", 0, "--save-csv"), capsys)
    assert outcome.code == 0 and "caf\\xe9 \\xff.jpg: 96x96" in outcome.out, outcome.err


def test_detection_goes_on_after_a_bad_image_and_says_so_at_the_end(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = home.image("test", 1)
    bad.write_bytes(bad.read_bytes()[:700])
    before = state_of(home.data)
    outcome = run(home.detect("--save-txt", "--conf-thres", 0), capsys)
    assert outcome.code == 65
    warning, error, hint = outcome.err.splitlines()
    assert hint == "hint: everything else was processed; try again with intact files"
    assert warning == "warning: 1 problem in 4 files"
    assert error.startswith("error: ") and "test/001.jpg` cannot be used: the JPEG is truncated" in error
    assert sorted(path.name for path in Path("runs/detect/exp/labels").iterdir()) == ["000.txt", "002.txt", "003.txt"]
    assert state_of(home.data) == before


def test_an_image_that_vanishes_during_training_is_named(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "onelook.recipes.train._write_beginning",
        lambda data, model, run: (run.folder.weights.mkdir(), home.image(number=5).unlink()),
    )
    outcome = run(home.train("--project", "runs", "--mosaic", 0), capsys)
    assert outcome.code == 65 and "train/005.jpg` cannot be opened: No such file" in outcome.err, outcome.err
    assert "Traceback" not in outcome.err
