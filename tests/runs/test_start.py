"""What a run starts from: checked before any image is read, and said in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from command_runs import Home, run

WRONG: dict[str, tuple[Callable[[Home], list[str]], str]] = {
    "model": (lambda home: home.train("--cfg", "yolov5q"), "model `yolov5q`"),
    "weights": (lambda home: home.train("--weights", "none.pt"), "weights `none.pt` do not exist"),
    "image size": (lambda home: home.train("--imgsz", 32), "`imgsz` is 32"),
    "layers": (lambda home: home.train("--freeze", 3, 12), "has 7 layers"),
    "model of a search": (lambda home: home.train("--evolve", 2, "--cfg", "yolov5q"), "model `yolov5q`"),
}


@pytest.mark.parametrize("what", WRONG)
def test_start_is_checked_before_any_image_is_read(
    what: str, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_image_is_to_be_read(*arguments: object, **keywords: object) -> None:
        raise AssertionError("the dataset was read first")

    monkeypatch.setattr("onelook.recipes.splits.scan_split", no_image_is_to_be_read)
    make, says = WRONG[what]
    assert says in run(make(home), capsys).err


def test_random_start_is_said_with_what_else_could_be_taken(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(home.train("--noval", "--noreport"), capsys).out
    assert "starts from random weights; on small datasets, weights matter most: `--weights` takes `yolox-nano`" in out
    assert "layers" in out and "GFLOPs at 64 x 64" in out


def test_weights_that_a_run_starts_from_are_said_with_their_origin(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(home.train("--weights", home.weights, "--noval", "--noreport"), capsys).out
    assert f"starts from weights `{home.weights}`: trained from scratch: the weights are yours" in out
    assert "random weights" not in out
