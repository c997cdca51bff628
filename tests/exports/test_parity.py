"""The comparison of an export with its model: equal is 0 apart, and every kind of error is seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from colours import colour_detector
from torch import Tensor

from onelook.exports.metadata import Metadata
from onelook.exports.parity import TOLERANCES, Case, compare, shapes_for, synthetic_images
from onelook.inference.backend import Thresholds, TorchBackend

SHAPES = [(1, 64, 64), (2, 64, 32)]


class Changed(TorchBackend):
    """The colour detector with a change in what it gives."""

    def __init__(self, box: float = 0.0, score: float = 0.0) -> None:
        super().__init__(colour_detector())
        self.box, self.score = box, score

    def predict(self, images: Tensor) -> Tensor:
        predictions = super().predict(images).clone()
        predictions[:, 3, 2] += self.box
        predictions[:, 5, 4] += self.score
        return predictions


@dataclass
class Fixed:
    """Gives the same two boxes whatever it sees; `thresholds` are those of the NMS that it claims to apply."""

    rows: Tensor
    thresholds: Thresholds | None = None
    needs_nms: bool = True
    names: tuple[str, ...] = ("red", "green")
    num_classes: int = 2
    stride: int = 8
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    frame_hw: tuple[int, int] | None = None
    max_batch: int | None = None
    imgsz: int | None = None

    def predict(self, images: Tensor) -> Tensor:
        return self.rows.expand(len(images), -1, -1)


def worst(export: TorchBackend) -> Case:
    return max(compare(TorchBackend(colour_detector()), export, SHAPES), key=lambda case: (case.unpaired, case.box_px))


def test_the_model_itself_is_nothing_apart() -> None:
    for case, (count, height, width) in zip(
        compare(TorchBackend(colour_detector()), Changed(), SHAPES), SHAPES, strict=True
    ):
        assert case == Case((count, 3, height, width), 0.0, 0.0)
        assert case.is_within(TOLERANCES["fp32"])


@pytest.mark.parametrize(
    ("change", "box_px", "is_within"),
    [
        ({"box": 0.8}, 0.4, True),
        ({"box": 1.2}, 0.6, False),
        ({"box": float("nan")}, float("inf"), False),
        ({"score": 0.5}, 0.0, False),
        ({"score": float("nan")}, 0.0, False),
    ],
)
def test_a_changed_row_is_seen(change: dict[str, float], box_px: float, is_within: bool) -> None:
    case = worst(Changed(**change))
    assert case.box_px == pytest.approx(box_px)
    assert case.is_within(TOLERANCES["fp32"]) == is_within
    assert case.is_within(TOLERANCES["int8"]), "8 bits are judged by their mAP"


def test_another_number_of_rows_is_seen() -> None:
    class Short(Changed):
        def predict(self, images: Tensor) -> Tensor:
            return super().predict(images)[:, :-1]

    assert not worst(Short()).is_within(TOLERANCES["fp16"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((), (0.0, 0.0, 0)),
        ((0, 0, 0.25), (0.25, 0.0, 0)),
        ((0, 4, 0.125), (0.0, 0.125, 0)),
        ((0, 0, 25.0), (0.0, 0.0, 2)),  # one of each stands alone
        ((1, 4, -0.75), (0.0, 0.0, 1)),
        ((2, 4, 0.0005), (0.0, 0.0, 0)),  # at the border: one may find it and the other not
    ],
)
def test_detections_are_paired_by_class_and_place(
    change: tuple[int, int, float], expected: tuple[float, float, int]
) -> None:
    rows = torch.tensor([
        [8.0, 8.0, 8.0, 8.0, 0.75, 1.0, 0.0],
        [40.0, 8.0, 8.0, 8.0, 0.875, 0.0, 1.0],
        [40.0, 40.0, 8.0, 8.0, 0.2499, 1.0, 0.0],
    ])  # fmt: skip
    changed = rows.clone()
    if change:
        changed[change[0], change[1]] += change[2]
    (case,) = compare(Fixed(rows[None]), Fixed(changed[None], Thresholds(0.25, 0.45, 50)), [(1, 64, 64)])
    assert (case.box_px, case.score, case.unpaired) == expected
    assert case.detections == 2
    assert case.is_within(TOLERANCES["fp32"]) == (expected[2] == 0 and expected[1] < 1e-3)


@pytest.mark.parametrize(
    ("metadata", "shapes"),
    [
        ({}, [(1, 64, 96), (3, 64, 48), (2, 32, 96)]),
        ({"batch": 1}, [(1, 64, 96), (1, 64, 48), (1, 32, 96)]),
        ({"frame_hw": (64, 96), "batch": 4}, [(4, 64, 96), (3, 64, 96)]),
        ({"frame_hw": (64, 96), "batch": 1}, [(1, 64, 96)]),
    ],
)
def test_all_that_an_export_takes_is_compared(metadata: dict[str, object], shapes: list[tuple[int, int, int]]) -> None:
    assert shapes_for(Metadata(names=("a",), stride=8, **metadata), (64, 96)) == shapes  # type: ignore[arg-type]


def test_synthetic_images_are_always_the_same() -> None:
    first, again, other = (synthetic_images(2, (32, 48), key=key) for key in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (2, 3, 32, 48) and first.min() >= 0 and first.max() <= 1
