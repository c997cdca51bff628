"""What a run starts from: checked before any image is read, and said in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import Home, run

import onelook

WRONG: dict[str, tuple[Callable[[Home], list[str]], str]] = {
    "model": (lambda home: home.train("--cfg", "yolov5q"), "model `yolov5q`"),
    "weights": (lambda home: home.train("--weights", "none.pt"), "weights `none.pt` do not exist"),
    "image size": (lambda home: home.train("--imgsz", 32), "`imgsz` is 32"),
    "layers": (lambda home: home.train("--freeze", 3, 12), "has 7 layers"),
    "teacher": (lambda home: home.train("--teacher", "none.pt"), "weights `none.pt` do not exist"),
    "epochs beside a time": (lambda home: home.train("--time", 1, "--epochs", 2), "cannot be used together: the time"),
    "batch of a search": (lambda home: home.train("--evolve", 2, "--batch-size", -1), "`batch_size` is -1"),
    "model of a search": (lambda home: home.train("--evolve", 2, "--cfg", "yolov5q"), "model `yolov5q`"),
}


@pytest.mark.parametrize("what", WRONG)
def test_start_is_checked_before_any_image_is_read(
    what: str, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_image_is_to_be_read(*arguments: object, **keywords: object) -> None:
        raise AssertionError("the dataset was read first")

    monkeypatch.setattr("onelook.data.splits.scan_split", no_image_is_to_be_read)
    make, says = WRONG[what]
    assert says in run(make(home), capsys).err


def test_random_start_is_said_with_what_else_could_be_taken(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(home.train("--noval", "--noreport"), capsys).out
    assert "training starts from random weights; on small datasets, pretrained weights help most: " in out
    assert "`--weights` takes `yolox-nano`" in out
    assert "layers" in out and "GFLOPs at 64 x 64" in out


def test_weights_that_a_run_starts_from_are_said_with_their_origin(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(home.train("--weights", home.weights, "--noval", "--noreport"), capsys).out
    assert f"starts from weights `{home.weights}`: trained from scratch: the weights are yours" in out
    assert "random weights" not in out


def test_result_of_a_training_prints_ten_lines(home: Home, tmp_path: Path) -> None:
    result = onelook.train(
        home.yaml, cfg=home.model, epochs=1, batch_size=8, imgsz=64, workers=0, device="cpu", noplots=True,
        noautoanchor=True, noreport=True, project=tmp_path, callbacks=[],
    )  # fmt: skip
    lines = str(result).splitlines()
    assert len(lines) == 10
    assert lines[0].split() == ["run", "folder", str(tmp_path / "exp")]
    assert lines[-1] == f"mAP50-95     {result.metrics.map50_95:.4f}"
    assert len(repr(result)) < 200
    assert f'<a href="{tmp_path / "exp" / "report.html"}">' in result._repr_html_()
