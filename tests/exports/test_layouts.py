"""Layouts of exported models: what other programs read, and that our own reader finds the same predictions in each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from colours import images, plan_of
from numpy.testing import assert_allclose

from onelook.errors import CheckpointError, ModelError
from onelook.exports.formats import EXPORTERS, require
from onelook.exports.layouts import best_pairs, from_detections
from onelook.exports.metadata import Metadata, read_metadata
from onelook.exports.parity import TOLERANCES, compare
from onelook.exports.plan import Predictions
from onelook.exports.running import predictions_of
from onelook.exports.torchscript import export_torchscript, open_torchscript
from onelook.geometry.boxes import xyxy_to_cxcywh
from onelook.inference.backend import TorchBackend
from onelook.models.decoding import Decoding
from onelook.models.detector import DetectionModel, create_model
from onelook.models.fuse import fuse

CPU = torch.device("cpu")
BODY = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]]
HEADS = {"YoloX": ["nc", 16], "Look": ["nc", 8, 8], "Detect": ["nc", [[6, 6, 10, 10], [18, 18, 24, 24]]]}


def model_with(head: str, *, branch: str = "many") -> DetectionModel:
    """Two maps, three classes; scores are spread, as those of a trained model."""
    table = {"nc": 3, "depth_multiple": 1.0, "width_multiple": 1.0, "backbone": BODY}
    table["head"] = [[[2, 3], 1, head, HEADS[head]]]
    if head == "Detect":
        table |= {"anchors": HEADS[head][1], "head": [[[2, 3], 1, head, ["nc", "anchors"]]]}
    model = create_model(table, names=("a", "b", "c"), one_to_one=branch == "one" or None).eval()
    model = fuse(model)
    model.keep_branch(branch)  # type: ignore[arg-type]
    with torch.no_grad():
        hooks = [convolution.register_forward_hook(spread) for outputs in outputs_of(model) for convolution in outputs]
        model(images(2, 64, 96))
    for hook in hooks:
        hook.remove()
    return model


def spread(convolution: torch.nn.Module, _given: tuple[torch.Tensor], outputs: torch.Tensor) -> None:
    convolution.get_parameter("weight").mul_(2 / outputs.std(dim=(0, 2, 3)).mean())


def outputs_of(model: DetectionModel) -> list[torch.nn.ModuleList]:
    """The convolutions that give objectness and classes, map by map."""
    names = [
        name for name in model.head.last_convolutions if name.split(".")[-1] not in ("box_preds", "reg_preds", "m")
    ]
    return [model.model[-1].get_submodule(name) for name in names]  # type: ignore[misc]


def metadata_of(model: DetectionModel, layout: str) -> dict[str, object]:
    decoding = model.head.decoding() if layout == "yolox" else None
    fixed = {"frame_hw": (64, 96), "batch": 2, "needs_nms": model.head.needs_nms}
    return {**fixed, "layout": layout, "decoding": decoding}


CASES = [
    ("YoloX", "many", "channels-first"), ("YoloX", "many", "yolox"),
    ("YoloX", "one", "yolox"), ("YoloX", "one", "end-to-end"),
    ("Look", "many", "channels-first"), ("Look", "one", "end-to-end"), ("Detect", "many", "channels-first"),
]  # fmt: skip


# All start from the same program. By default, two whose graphs have TopK, and one that gives raw boxes.
SHOWN = {
    ("YoloX", "one", "end-to-end", "torchscript"), ("YoloX", "one", "yolox", "torchscript"),
    ("Look", "one", "end-to-end", "onnx"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("head", "branch", "layout", "format_name"),
    [
        pytest.param(*case, name, marks=() if (*case, name) in SHOWN else pytest.mark.slow)
        for case in CASES
        for name in ("onnx", "torchscript", "openvino")
    ],
)
def test_a_layout_is_read_back_as_what_the_model_predicts(
    head: str, branch: str, layout: str, format_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    kind = EXPORTERS[format_name]
    require(format_name, (*kind.makers, *kind.runners))
    model = model_with(head, branch=branch)
    plan = plan_of(model, **metadata_of(model, layout))
    path = tmp_path / f"tiny{kind.ending}"
    if kind.is_folder:
        path.mkdir()
    kind.write(plan, path)
    export, reference = kind.open(path, CPU), TorchBackend(model)
    assert export.metadata.layout == layout
    best = 300 if layout == "end-to-end" else None
    for case in compare(reference, export, [(2, 64, 96), (1, 64, 96)], best=best):
        assert case.unpaired == 0 and case.box_px < 1e-2 and case.score < 1e-5
        assert best is None or case.detections


@pytest.mark.parametrize(
    ("head", "branch", "layout", "shape"),
    [
        ("YoloX", "many", "rows", (2, 120, 8)),
        ("YoloX", "many", "channels-first", (2, 7, 120)),
        ("YoloX", "many", "yolox", (2, 120, 8)),
        ("Look", "one", "end-to-end", (2, 300, 6)),
    ],
)
def test_other_programs_find_the_shapes_and_values_that_they_expect(
    head: str, branch: str, layout: str, shape: tuple[int, ...]
) -> None:
    model, given = model_with(head, branch=branch), images(2, 64, 96)
    with torch.inference_mode():
        found = Predictions(model, Metadata(model.names, 16, **metadata_of(model, layout)))(given)  # type: ignore[arg-type]
        rows, raw_maps = model.decode(model(given)), model(given)
    assert found.shape == shape
    assert rows[..., 5:].std() > 0.05, "scores are spread"
    confidences = rows[..., 4:5] * rows[..., 5:]
    if layout == "channels-first":
        assert torch.equal(found[:, :4], rows[..., :4].transpose(1, 2))
        assert torch.equal(found[:, 4:], confidences.transpose(1, 2))
    if layout == "yolox":  # the decoding that YOLOX's own programs do
        places = [(x, y, s) for s, (h, w) in {8: (8, 12), 16: (4, 6)}.items() for y in range(h) for x in range(w)]
        grid = torch.tensor(places, dtype=torch.float32)
        boxes = torch.cat([(found[..., :2] + grid[:, :2]) * grid[:, 2:], found[..., 2:4].exp() * grid[:, 2:]], dim=-1)
        torch.testing.assert_close(boxes, rows[..., :4])
        torch.testing.assert_close(found[..., 4:], rows[..., 4:])
        assert torch.equal(found[0, 12, :4], raw_maps[0][0, 0, 1, 0, :4]), "the second row of cells"
    if layout == "end-to-end":
        assert (found[..., 4].diff(dim=1) <= 0).all()


@pytest.mark.parametrize(
    ("num_boxes", "num_classes", "count"), [(500, 4, 300), (40, 3, 300), (1000, 1, 300), (7, 2, 5)]
)
def test_the_best_pairs_in_two_stages_are_the_best_of_all(num_boxes: int, num_classes: int, count: int) -> None:
    rng = np.random.Generator(np.random.Philox(key=num_boxes))
    predictions = torch.from_numpy(rng.random((2, num_boxes, 5 + num_classes)))
    found = best_pairs(predictions, count).numpy()
    for image, table in enumerate(predictions.numpy()):
        scores = table[:, 4:5] * table[:, 5:]
        order = np.argsort(-scores, axis=None, kind="stable")[:count]
        box, class_id = np.divmod(order, num_classes)
        assert_allclose(found[image, : len(order), 4], scores.reshape(-1)[order])
        assert_allclose(found[image, : len(order), 5], class_id)
        corners = xyxy_to_cxcywh(torch.from_numpy(found[image, : len(order), :4]))
        assert_allclose(corners.numpy(), table[box, :4])
        assert (found[image, len(order) :, 4] == 0).all()


@pytest.mark.parametrize("branch", ["many", "one"])
def test_raw_maps_are_decoded_by_their_metadata_alone(branch: str) -> None:
    model, given = model_with("YoloX", branch=branch), images(2, 64, 96)
    with torch.inference_mode():
        flat = [raw.numpy() for raw in model.head.flat_maps(model.features(given))]
        assert torch.equal(predictions_of(flat, model.head.decoding(), 3), model.decode(model(given)))


def test_run_times_may_order_near_ties_as_they_like_but_not_lose_a_pair() -> None:
    model = model_with("Look", branch="one")
    reference = TorchBackend(model)

    class Pairs:
        thresholds, max_batch = None, None

        def __init__(self, lost: int) -> None:
            self.lost = lost

        def predict(self, given: torch.Tensor) -> torch.Tensor:
            table = best_pairs(reference.predict(given)).flip(1)
            table[:, len(table[0]) - self.lost :, 4] = 0  # the first ones, being flipped
            return from_detections(table, 3)

    for lost in (0, 2):
        (case,) = compare(reference, Pairs(lost), [(1, 64, 96)], best=300)  # type: ignore[arg-type]
        assert case.is_within(TOLERANCES["fp32"]) == (lost == 0)


def test_a_file_of_another_layout_than_it_says_is_refused(tmp_path: Path) -> None:
    model = model_with("YoloX")
    plan = plan_of(model, **metadata_of(model, "channels-first"))
    export_torchscript(plan, tmp_path / "tiny.torchscript")
    export = open_torchscript(tmp_path / "tiny.torchscript", CPU)
    object.__setattr__(export.metadata, "layout", "rows")
    with pytest.raises(ModelError, match="expected 2 x boxes x 8"):
        export.predict(images(2, 64, 96))


@pytest.mark.parametrize(
    ("layout", "decoding"),
    [("columns", None), ("yolox", None), ("channels-first", Decoding("points", (8.0,))), (3, None)],
)
def test_metadata_with_a_layout_that_makes_no_sense_are_refused(layout: object, decoding: Decoding | None) -> None:
    text = Metadata(("a",), 8, decoding=decoding, layout=layout).as_json()  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="its metadata cannot be read"):
        read_metadata(text, "tiny.onnx")


def test_metadata_of_earlier_files_are_read_as_they_were_meant() -> None:
    for decoding in (None, Decoding("points", (8.0,))):
        text = Metadata(("a",), 8, decoding=decoding).as_json().replace(', "layout": "rows"', "")
        assert "layout" not in text
        assert read_metadata(text, "tiny.onnx") == Metadata(("a",), 8, decoding=decoding)
