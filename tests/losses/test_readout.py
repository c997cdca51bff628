"""Reading a raw map gives the values and gradients of plain indexing, for every memory order."""

from __future__ import annotations

import pytest
import torch

from onelook.losses.readout import read_maps, row_strides, with_whole_rows

SHAPE = (2, 3, 5, 4, 7)


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def permuted() -> torch.Tensor:
    batch, anchors, height, width, channels = SHAPE
    return seeded(batch, anchors * channels, height, width).view(batch, anchors, channels, height, width).permute(
        0, 1, 3, 4, 2
    )  # fmt: skip


def channels_last() -> torch.Tensor:
    batch, anchors, height, width, channels = SHAPE
    flat = seeded(batch, anchors * channels, height, width).to(memory_format=torch.channels_last)
    return flat.permute(0, 2, 3, 1).view(batch, height, width, anchors, channels).permute(0, 3, 1, 2, 4)


PLACE = tuple(torch.tensor(index) for index in ([0, 1, 0, 0], [2, 0, 2, 1], [4, 0, 4, 1], [3, 1, 3, 0]))


def positions(raw_map: torch.Tensor) -> torch.Tensor:
    return sum(index * stride for index, stride in zip(PLACE, row_strides(raw_map), strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize("make", [lambda: seeded(*SHAPE), permuted, channels_last], ids=["rows", "planes", "pixels"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_equal_plain_indexing(make: object, dtype: torch.dtype) -> None:
    raw = make().to(dtype)  # type: ignore[operator]
    ours, plain = raw.clone().requires_grad_(), raw.clone().requires_grad_()
    rows = with_whole_rows(ours)
    objectness, matched = read_maps([rows, rows], torch.stack([positions(rows)] * 2))
    assert objectness.dtype == matched.dtype == torch.float32
    assert objectness.shape == (2 * 2 * 3 * 5 * 4,) and matched.shape == (2, 4, 7)
    assert torch.equal(objectness[:120].sort()[0], plain[..., 4].float().flatten().sort()[0])
    assert torch.equal(matched[0], plain[PLACE].float()) and torch.equal(matched[0], matched[1])

    weights = seeded(4, 7)
    ((objectness[:120] ** 2).sum() + (matched[0] * weights).sum()).backward()
    ((plain[..., 4].float() ** 2).sum() + (plain[PLACE].float() * weights).sum()).backward()
    tolerance = 1e-6 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(ours.grad, plain.grad, atol=tolerance, rtol=tolerance)
    assert ours.grad is not None
    assert ours.grad.stride() == ours.stride()


@pytest.mark.parametrize(
    ("make", "is_copied"), [(lambda: seeded(*SHAPE), False), (permuted, True), (channels_last, False)]
)
def test_maps_are_copied_only_if_the_numbers_of_a_cell_are_apart(make: object, is_copied: bool) -> None:
    raw = make()  # type: ignore[operator]
    rows = with_whole_rows(raw)
    assert (rows.data_ptr() != raw.data_ptr()) == is_copied and torch.equal(rows, raw)
    part = seeded(2, 3, 5, 4, 9)[..., :7]  # what a head with masks gives: dense it is not
    assert torch.equal(with_whole_rows(part), part) and with_whole_rows(part).is_contiguous()
    one = channels_last()[:1]
    assert with_whole_rows(one).data_ptr() == one.data_ptr()


def test_gradient_of_shared_positions_is_the_same_bits_on_several_threads() -> None:
    positions = torch.arange(20_000)[None] % 6
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gradients = []
        for _ in range(5):
            raw = torch.zeros(1, 1, 2, 3, 9, requires_grad=True)
            _, matched = read_maps([raw], positions)
            (gradient,) = torch.autograd.grad((matched[0] * seeded(20_000, 9)).sum(), raw)
            gradients.append(gradient)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])
