"""The head: raw maps, decoding, biases, anchors, masks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from onelook.models.detector import create_model
from onelook.models.heads import Detect, Segment

ANCHORS = torch.tensor([[[8.0, 16.0], [16.0, 8.0]], [[32.0, 64.0], [64.0, 32.0]]])
STRIDES = (8, 16)


def head(num_classes: int = 3, kind: type[Detect] = Detect) -> Detect:
    detect = kind([4, 6], num_classes=num_classes, num_anchors=2)
    detect.strides.copy_(torch.tensor(STRIDES))
    detect.place_anchors(ANCHORS)
    return detect


def features(batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 4, 4, 6, generator=generator), torch.randn(batch, 6, 2, 3, generator=generator)]


def test_raw_maps_are_anchor_row_column_output_views_of_the_convolutions() -> None:
    detect = head()
    maps = detect(features())
    assert [tuple(x.shape) for x in maps] == [(2, 2, 4, 6, 8), (2, 2, 2, 3, 8)]
    by_convolution = detect.m[0](features()[0])
    assert maps[0][1, 1, 2, 3, 5] == by_convolution[1, 8 + 5, 2, 3]


def test_decoding_equals_the_formula_cell_by_cell_in_the_order_map_anchor_row_column() -> None:
    detect = head()
    maps = [x.detach() for x in detect(features())]
    decoded = detect.decode(maps)
    assert tuple(decoded.shape) == (2, 2 * 24 + 2 * 6, 8)
    assert decoded.dtype == torch.float32
    position = 0
    for level, raw in enumerate(maps):
        _, anchors, height, width, _ = raw.shape
        for a in range(anchors):
            for y in range(height):
                for x in range(width):
                    p = torch.sigmoid(raw[1, a, y, x])
                    s, (aw, ah) = STRIDES[level], ANCHORS[level, a].tolist()
                    box = [
                        (2 * p[0] - 0.5 + x) * s,
                        (2 * p[1] - 0.5 + y) * s,
                        (2 * p[2]) ** 2 * aw,
                        (2 * p[3]) ** 2 * ah,
                    ]
                    expected = torch.stack([*box, *p[4:]])
                    torch.testing.assert_close(decoded[1, position], expected)
                    position += 1


@pytest.mark.parametrize("logit, offset, factor", [(-100.0, -0.5, 0.0), (0.0, 0.5, 1.0), (100.0, 1.5, 4.0)])
def test_decoded_centres_and_sizes_stay_in_their_range(logit: float, offset: float, factor: float) -> None:
    detect = head()
    first = detect.decode([torch.full((1, 2, 1, 1, 8), logit), torch.full((1, 2, 1, 1, 8), logit)])[0, 0]
    assert first[:4].tolist() == pytest.approx([offset * 8, offset * 8, factor * 8, factor * 16])


def test_half_precision_maps_are_decoded_in_float32() -> None:
    detect = head()
    maps = [x.detach().half() for x in detect(features())]
    torch.testing.assert_close(detect.decode(maps), detect.decode([x.float() for x in maps]), rtol=0, atol=0)


def test_decoding_lets_gradients_through() -> None:
    maps = head()(features())
    for raw in maps:
        raw.retain_grad()
    head().decode(maps).sum().backward()
    assert all(raw.grad is not None and raw.grad.abs().sum() > 0 for raw in maps)


@pytest.mark.parametrize(
    "stride, objectness", [(4, -8.0711), (8, -6.6846), (16, -5.2983), (32, -3.9120), (64, -2.5257)]
)
@pytest.mark.parametrize("num_classes, class_bias", [(80, -4.8806), (2, -0.5108), (1, 13.3047)])
def test_biases_start_from_rare_objects_and_rare_classes(
    stride: int, objectness: float, num_classes: int, class_bias: float
) -> None:
    detect = Detect([4], num_classes=num_classes, num_anchors=3)
    torch.nn.init.zeros_(detect.m[0].bias)
    detect.initialise_biases([stride])
    per_anchor = detect.m[0].bias.view(3, 5 + num_classes)[1].tolist()
    assert per_anchor == pytest.approx([0.0] * 4 + [objectness] + [class_bias] * num_classes, abs=1e-3)


def test_biases_are_added_to_the_random_ones() -> None:
    detect = head()
    before = detect.m[0].bias.detach().clone()
    detect.initialise_biases(STRIDES)
    assert torch.equal(detect.m[0].bias.view(2, 8)[:, :4], before.view(2, 8)[:, :4])
    added = (detect.m[0].bias - before).view(2, 8)[:, 4]
    assert added.tolist() == pytest.approx([math.log(8 / 80**2)] * 2, abs=1e-5)


def test_anchors_are_kept_in_cells_before_the_convolutions_and_given_out_in_pixels() -> None:
    detect = head()
    assert list(detect.state_dict()) == ["anchors", "m.0.weight", "m.0.bias", "m.1.weight", "m.1.bias"]
    assert torch.equal(detect.anchors, ANCHORS / torch.tensor([8.0, 16.0])[:, None, None])
    assert torch.equal(detect.anchor_grid().anchors, ANCHORS)


@pytest.mark.parametrize("strides", [(8, 16), (16, 8)])
def test_anchors_follow_the_order_of_the_strides(strides: tuple[int, int]) -> None:
    detect = head()
    detect.strides.copy_(torch.tensor(strides))
    expected = ANCHORS if strides == (8, 16) else ANCHORS.flip(0)
    for given in (ANCHORS, ANCHORS.flip(0)):
        detect.place_anchors(given)
        assert torch.equal(detect.anchor_grid().anchors, expected)


def test_segment_gives_the_boxes_of_a_detector_and_masks_beside_them() -> None:
    segment = head(kind=Segment).eval()
    assert isinstance(segment, Segment)
    maps = segment(features())
    assert [tuple(x.shape) for x in maps] == [(2, 2, 4, 6, 8), (2, 2, 2, 3, 8)]
    with_masks = segment.segment(features())
    assert all(torch.equal(a, b) for a, b in zip(maps, with_masks.raw_maps, strict=True))
    assert [tuple(x.shape) for x in with_masks.coefficients] == [(2, 2, 4, 6, 32), (2, 2, 2, 3, 32)]
    assert tuple(with_masks.prototypes.shape) == (2, 32, 8, 12)


def test_segment_trains_prototypes_and_coefficients() -> None:
    segment = head(kind=Segment)
    assert isinstance(segment, Segment)
    out = segment.segment(features())
    sum(x.square().sum() for x in [*out.raw_maps, *out.coefficients, out.prototypes]).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in segment.parameters())


def test_mask_model_decodes_like_any_detector() -> None:
    model = create_model("yolov5n-seg", num_classes=2).eval()
    with torch.no_grad():
        decoded = model.decode(model(torch.zeros(1, 3, 64, 64)))
    assert tuple(decoded.shape) == (1, 3 * (64 + 16 + 4), 7)
