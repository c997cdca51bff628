"""The published weights of YOLOX-nano give the numbers of an independent implementation, and those of ONNX Runtime.

The file is not part of this repository: set ONELOOK_YOLOX_NANO to the path of a yolox_nano.onnx of release 0.1.1rc0.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from onelook.exports.layouts import undecoded
from onelook.geometry.nms import non_max_suppression
from onelook.interop.onnx_graph import read_onnx
from onelook.interop.yolox_onnx import yolox_of_graph
from onelook.models.detector import DetectionModel, create_model
from onelook.models.fuse import fuse
from onelook.models.inflate import inflated
from onelook.models.stem import folded_stem
from onelook.training.weights import load_detector

VARIABLE = "ONELOOK_YOLOX_NANO"
SIDE = 416


@pytest.fixture(scope="module")
def path() -> Path:
    if VARIABLE not in os.environ:
        reason = f"the weights of YOLOX were not checked: set {VARIABLE} to the path of yolox_nano.onnx of 0.1.1rc0"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    return Path(os.environ[VARIABLE])


@pytest.fixture(scope="module")
def exact(path: Path) -> DetectionModel:
    """The model in float64, its stem folded in float64 too."""
    graph = read_onnx(path)
    skeleton, tensors = yolox_of_graph(graph)
    model = fuse(create_model(skeleton.definition, names=skeleton.names)).double()
    kernels = [weight for weight in graph.weights.values() if tuple(weight.shape) == (16, 12, 3, 3)]
    model.load_state_dict({**tensors, "model.0.conv.weight": folded_stem(kernels[0].double())})
    return model.eval()


def wave() -> Tensor:
    """(3, 416, 416) BGR from 0 to 255."""
    c, i, j = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (3, SIDE, SIDE)), indexing="ij")
    return 127.5 * (torch.sin(0.01 * (3 * i + 5 * j + 7 * c)) + 1)


def as_ours(bgr: Tensor) -> Tensor:
    """(1, 3, H, W) RGB from 0 to 1."""
    return (bgr.flip(0) / 255)[None]


def test_a_wave_gives_the_published_sums(exact: DetectionModel) -> None:
    image = as_ours(wave())
    assert wave().sum().item() == pytest.approx(66164059.588604, rel=1e-12)
    stem = exact.model[0](image)
    assert stem.sum().item() == pytest.approx(394035.795098, abs=1e-5)
    assert stem[0, 7, 100, 100].item() == pytest.approx(1.696305235, abs=1e-9)
    features = exact.features(image)
    sums = [43441.237491, 64938.262743, 7114.348059, 26648.178077, 3186.501134, 14971.479042]
    found = [value.item() for feature in features for value in (feature.sum(), feature.abs().sum())]
    assert found == pytest.approx(sums, abs=1e-5)
    maps = exact(image)
    raw = [part.sum().item() for one in maps for part in (one[..., :4], one[..., 4], one[..., 5:])]
    assert raw == pytest.approx(
        [
            *(14962.591586, -37032.532113, -1288929.946385),
            *(3849.010444, -5093.112528, -371939.939182),
            *(855.028033, -985.146987, -88595.228388),
        ],
        abs=2e-6,
    )
    scores = [part.sigmoid().sum().item() for one in maps for part in (one[..., 4], one[..., 5:])]
    assert scores == pytest.approx([0.009898, 1890.384717, 5.957882, 424.160209, 4.902698, 120.079888], abs=1e-6)
    exported = undecoded(maps, exact.head.decoding()).double().sum().item()
    assert exported == pytest.approx(22112.125356, abs=0.01), "in float32, as YOLOX's own export"
    assert maps[0][0, 0, 10, 20, 0].item() == pytest.approx(0.502340766, abs=1e-9)
    assert maps[1][0, 0, 13, 5, 4].item() == pytest.approx(-5.005609021, abs=1e-9)
    assert maps[2][0, 0, 6, 6, 5 + 14].item() == pytest.approx(-10.067902147, abs=1e-9)


def test_the_stem_is_folded_as_published(exact: DetectionModel) -> None:
    kernel = exact.model[0].conv.weight
    assert kernel.sum().item() == pytest.approx(-4.055427, abs=1e-6)
    assert kernel.abs().sum().item() == pytest.approx(2351.912272, abs=1e-5)
    single = [kernel[0, 0, 0, 0].item(), kernel[3, 1, 2, 5].item(), kernel[15, 2, 5, 5].item()]
    assert single == pytest.approx([-0.091844946, -0.005683981, -0.003433750], abs=1e-9)
    assert exact.model[0].conv.bias.sum().item() == pytest.approx(7.472987, abs=1e-6)


def test_boxes_are_those_published(path: Path) -> None:
    rows = load_detector(path).decode(load_detector(path)(as_ours(wave()).float()))[0]
    scores = rows[:, 4:5] * rows[:, 5:]
    best = int(scores.amax(1).argmax())
    assert (best, int(scores[best].argmax())) == (2975, 27)
    assert scores[best].max().item() == pytest.approx(0.093404055, abs=1e-5)
    assert rows[best, :4].tolist() == pytest.approx([192.51893, 181.27949, 320.12873, 393.40743], abs=2e-3)
    assert int((scores.amax(1) >= 0.01).sum()) == 99
    assert rows[:, :4].double().sum().item() == pytest.approx(2292517.8615, rel=1e-6)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_detections_are_those_of_onnx_runtime(path: Path, seed: int) -> None:
    """Images of coloured discs on a wave; the file's own boxes are decoded here as its demo does."""
    runtime = pytest.importorskip("onnxruntime")
    image = _scene(seed)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    raw = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image.numpy()[None]})[0])
    cells = torch.cat([_cells(SIDE // stride, stride) for stride in (8, 16, 32)])  # (N, 3) column, row, stride
    centres = (raw[0, :, :2] + cells[:, :2]) * cells[:, 2:]
    theirs = torch.cat([centres, raw[0, :, 2:4].exp() * cells[:, 2:], raw[0, :, 4:]], dim=1)[None]
    model = load_detector(path)
    ours = model.decode(model(as_ours(image)))
    (found,), (expected,) = (non_max_suppression(one, conf_thres=0.001, iou_thres=0.65) for one in (ours, theirs))
    assert len(found) == len(expected) > 5
    assert torch.equal(found[:, 5], expected[:, 5])
    torch.testing.assert_close(found[:, :4], expected[:, :4], atol=0.02, rtol=1e-4)
    torch.testing.assert_close(found[:, 4], expected[:, 4], atol=1e-5, rtol=1e-3)


def test_batch_norms_found_on_images_change_nothing(path: Path) -> None:
    fused = load_detector(path)
    images = [as_ours(_scene(seed)) for seed in range(3)]
    model = create_model(fused.definition, names=fused.names)
    model.load_state_dict(inflated(fused, images))
    with torch.inference_mode():
        expected = fused(images[0])
        for ours, theirs in zip(model.eval()(images[0]), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=1e-3)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                assert layer.running_var is not None and bool((layer.weight**2 - layer.running_var > 0).all())
        batch = torch.cat(images)
        trained = model.train()(batch)
        again = fused(batch)
    for ours, theirs in zip(trained, again, strict=True):  # the batch is all that the norms were found on
        assert (ours - theirs).abs().mean() < 1e-3 * theirs.abs().mean()


def _scene(seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    image = wave().float()
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    for _ in range(12):
        x, y, radius = rng.integers(40, SIDE - 40), rng.integers(40, SIDE - 40), rng.integers(10, 60)
        inside = (columns - int(x)) ** 2 + (rows - int(y)) ** 2 < int(radius) ** 2
        image[:, inside] = torch.tensor(rng.integers(0, 256, 3), dtype=torch.float32)[:, None]
    return image


def _cells(side: int, stride: int) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([columns, rows, torch.full_like(rows, stride)], dim=-1).reshape(-1, 3).float()
