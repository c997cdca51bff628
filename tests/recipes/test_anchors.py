"""`onelook anchors`: what it measures, finds, prints and draws, and that every setting matters."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from onelook.cli.main import main
from onelook.data.splits import ScanOptions, read_splits
from onelook.errors import DataError, RunFolderError, SettingsError, StopRequested
from onelook.files.yaml import load_yaml
from onelook.models.detector import create_model
from onelook.recipes.anchors import AnchorStudy, draw_study, study_anchors
from onelook.runs.checkpoint import load_checkpoint, save_checkpoint
from onelook.settings.anchors import AnchorSettings
from onelook.training.autoanchor import fit_anchors, label_sizes_px

TINY = [[6, 6, 10, 10, 14, 14], [18, 18, 24, 24, 30, 20], [20, 40, 40, 40, 60, 50]]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def study(tiny_data: Path, tiny_model: Path) -> AnchorStudy:
    return study_anchors({"data": tiny_data, "cfg": tiny_model, "imgsz": 96})


def sizes_of(data: Path, imgsz: int) -> np.ndarray:
    index = read_splits(data, ("train",), options=ScanOptions()).scans["train"].index
    return label_sizes_px(index, imgsz)


def test_fit_equals_a_loop_over_labels_and_anchors(study: AnchorStudy, tiny_data: Path) -> None:
    sizes = sizes_of(tiny_data, 96)
    assert np.array_equal(study.sizes_px, sizes) and len(sizes) > 20 and study.strides == (8, 16, 32)
    for fit, anchors in ((study.current, np.reshape(TINY, (3, 3, 2))), (study.found, study.found.anchors_px)):
        np.testing.assert_allclose(fit.anchors_px, anchors, rtol=1e-6)
        ratios = [[[min(min(g / a, a / g) for g, a in zip(size, anchor, strict=True)) for anchor in row]
                   for row in anchors] for size in sizes.tolist()]  # fmt: skip
        best = [max(max(row) for row in label) for label in ratios]
        assert fit.mean_ratio == pytest.approx(np.mean(best))
        assert fit.best_possible_recall == pytest.approx(np.mean([value > 1 / 4 for value in best]))
        matched = [sum(value > 1 / 4 for row in label for value in row) for label in ratios]
        assert fit.anchors_per_target == pytest.approx(np.mean(matched))
        for row in range(3):
            assert fit.map_recalls[row] == pytest.approx(np.mean([max(label[row]) > 1 / 4 for label in ratios]))
        assert fit.map_shares.sum() == pytest.approx(1)
        owners = [int(np.argmax([max(row) for row in label])) for label in ratios]
        assert fit.map_shares.tolist() == pytest.approx([owners.count(row) / len(owners) for row in range(3)])


def test_new_anchors_suit_better_and_are_those_of_training(study: AnchorStudy, tiny_data: Path) -> None:
    assert study.found.mean_ratio > study.current.mean_ratio and not study.would_be_replaced
    grid = create_model("yolov5n", num_classes=2, anchors=3).anchor_grid
    index = read_splits(tiny_data, ("train",), options=ScanOptions()).scans["train"].index
    _, trained = fit_anchors(label_sizes_px(index, 96), grid, anchor_t=4.0, seed=0, placeholders=True)
    assert np.allclose(trained.anchors_px, study.found.anchors_px, atol=0.051)
    assert np.array_equal(study.found.anchors_px, study.found.anchors_px.round(1))


def test_the_lines_are_the_anchors_of_a_model(study: AnchorStudy, tiny_model: Path, place: Path) -> None:
    text = tiny_model.read_text()
    head, tail = text[: text.index("anchors:")], text[text.index("head:") :]
    pasted = place / "pasted.yaml"
    pasted.write_text(f"{head}{study.yaml_lines()}\n{tail}")
    model = create_model(pasted, num_classes=2)
    np.testing.assert_allclose(model.anchor_grid.anchors, study.found.anchors_px, rtol=1e-5)
    rows = load_yaml(pasted)["anchors"]
    assert [len(row) for row in rows] == [6, 6, 6]


def test_the_command_prints_all_of_it(
    study: AnchorStudy, tiny_data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["anchors", str(tiny_data), "--cfg", str(tiny_model), "--img", "96", "--output", "fit.jpg"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert f"{len(study.sizes_px)} labels at an image size of 96" in out and "side below" not in out
    for fit in (study.current, study.found):
        assert f"{fit.mean_ratio:.3f}" in out and f"{fit.anchors_per_target:.2f}" in out
        for width, height in fit.anchors_px.reshape(-1, 2).tolist():
            assert f"{width:g}x{height:g}" in out
    assert "Training keeps the anchors: more than 98.0 % of the labels are in reach" in out
    assert study.yaml_lines() in out and out.endswith("the image is fit.jpg\n")
    assert cv2.imread("fit.jpg") is not None


def test_every_setting_matters(study: AnchorStudy, tiny_data: Path, tiny_model: Path, place: Path) -> None:
    """`data` and `weights` matter elsewhere in this file."""
    assert set(AnchorSettings.model_fields) == {
        "data", "cfg", "weights", "imgsz", "anchor_t", "num", "seed", "output",
    }  # fmt: skip

    def changed(**changes: object) -> AnchorStudy:
        return study_anchors({"data": tiny_data, "cfg": tiny_model, "imgsz": 96, **changes})

    assert draw_study(study) == Path("runs/anchors/data-96.png")
    assert draw_study(changed(output=place / "here")) == place / "here" / "data-96.png"
    assert changed(imgsz=192).found.anchors_px.mean() == pytest.approx(2 * study.found.anchors_px.mean(), rel=0.1)
    strict = changed(anchor_t=1.2)
    assert strict.current.best_possible_recall < study.current.best_possible_recall and strict.would_be_replaced
    assert changed(num=2).found.anchors_px.shape == (3, 2, 2)
    assert not np.array_equal(changed(seed=1).found.anchors_px, study.found.anchors_px)
    shipped = changed(cfg="yolov5n")
    assert shipped.model == "yolov5n" and shipped.current.anchors_px[0, 0].tolist() == [10, 13]


def test_same_seed_same_bits(study: AnchorStudy, tiny_data: Path, tiny_model: Path) -> None:
    again = study_anchors({"data": tiny_data, "cfg": tiny_model, "imgsz": 96})
    assert again.found.anchors_px.tobytes() == study.found.anchors_px.tobytes()


@pytest.mark.slow  # as the charts of `test_plots_charts.py`
def test_the_same_study_gives_the_same_image(study: AnchorStudy) -> None:
    first = draw_study(study).read_bytes()
    assert draw_study(study).read_bytes() == first


def test_anchors_of_a_checkpoint_are_measured(tiny_data: Path, tiny_model: Path, place: Path) -> None:
    model = create_model(tiny_model, num_classes=2)
    model.set_anchors(model.anchor_grid.anchors + 1)
    tensors = {f"ema/{name}": tensor for name, tensor in model.state_dict().items()}
    document = {"kind": "detector", "names": ["a", "b"], "definition": model.definition}
    save_checkpoint(place / "bees.safetensors", tensors, document)
    assert load_checkpoint(place / "bees.safetensors")
    study = study_anchors({"data": tiny_data, "weights": place / "bees.safetensors", "imgsz": 96})
    assert study.model == "bees.safetensors"
    np.testing.assert_allclose(study.current.anchors_px.reshape(3, 6), np.add(TINY, 1), rtol=1e-6)


def test_placeholders_are_said_to_be_replaced(tiny_data: Path, tiny_model: Path, place: Path) -> None:
    text = tiny_model.read_text()
    (place / "open.yaml").write_text(f"{text[: text.index('anchors:')]}anchors: 3\n{text[text.index('head:') :]}")
    assert study_anchors({"data": tiny_data, "cfg": "open.yaml", "imgsz": 96}).would_be_replaced


def test_what_cannot_be_measured_is_refused(tiny_data: Path, tiny_model: Path, place: Path) -> None:
    given = {"data": tiny_data, "cfg": tiny_model, "imgsz": 96}
    with pytest.raises(
        SettingsError, match=r"`cfg` is `.*` and `weights` is `w`, but only one model is measured"
    ) as both:
        study_anchors({**given, "weights": "w"})
    assert "drop `--weights`" in (both.value.hint or "")
    with pytest.raises(SettingsError, match="`anchor_t` is `1`"):
        study_anchors({**given, "anchor_t": 1})
    (place / "taken").write_text("")
    with pytest.raises(RunFolderError, match=r"folder `taken` cannot be made") as no_place:
        draw_study(study_anchors({**given, "output": "taken"}))
    assert "--output" in (no_place.value.hint or "")
    background = place / "background"
    (background / "images").mkdir(parents=True)
    cv2.imwrite(str(background / "images" / "a.png"), np.zeros((40, 40, 3), np.uint8))
    (background / "data.yaml").write_text("train: images\nval: images\nnames: [bee]\n")
    with pytest.raises(DataError, match=r"no label of the 0 in split `train` .* is 2 pixels wide or high") as nothing:
        study_anchors({**given, "data": background / "data.yaml"})
    assert "label objects" in (nothing.value.hint or "")


@pytest.mark.parametrize("after", [1, 40, 800])
def test_a_signal_ends_it(tiny_data: Path, tiny_model: Path, after: int) -> None:
    """Raised when the clustering begins, or after some rounds of the search."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        code = getattr(frame, "f_code", None)
        if event == "call" and code is not None and code.co_name in {"_k_means", "_fitness"}:
            calls += 1
            if calls == after:
                signal.raise_signal(signal.SIGUSR1)

    sys.setprofile(count)
    try:
        with pytest.raises(StopRequested, match="stopped"):
            study_anchors({"data": tiny_data, "cfg": tiny_model, "imgsz": 96})
    finally:
        sys.setprofile(None)
    assert after <= calls <= after + 1, "not another round"
