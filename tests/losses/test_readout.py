"""Reading a raw map gives the values and gradients of plain indexing, for every memory order."""

from __future__ import annotations

import pytest
import torch

from onelook.losses.readout import read_map

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


@pytest.mark.parametrize("make", [lambda: seeded(*SHAPE), permuted, channels_last], ids=["rows", "planes", "pixels"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_equal_plain_indexing(make: object, dtype: torch.dtype) -> None:
    raw = make().to(dtype)  # type: ignore[operator]
    ours, plain = raw.clone().requires_grad_(), raw.clone().requires_grad_()
    objectness, matched = read_map(ours, PLACE)
    assert objectness.dtype == matched.dtype == torch.float32
    assert torch.equal(objectness, plain[..., 4].float())
    assert torch.equal(matched, plain[PLACE].float())

    weights = seeded(4, 7)
    ((objectness**2).sum() + (matched * weights).sum()).backward()
    ((plain[..., 4].float() ** 2).sum() + (plain[PLACE].float() * weights).sum()).backward()
    tolerance = 1e-6 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(ours.grad, plain.grad, atol=tolerance, rtol=tolerance)
    assert ours.grad is not None
    assert ours.grad.stride() == ours.stride()


def test_gradient_of_shared_places_is_the_same_bits_on_several_threads() -> None:
    count = 20_000
    place = tuple(torch.arange(count) % size for size in (1, 1, 2, 3))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gradients = []
        for _ in range(5):
            raw = torch.zeros(1, 1, 2, 3, 9, requires_grad=True)
            _, matched = read_map(raw, place)
            (gradient,) = torch.autograd.grad((matched * seeded(count, 9)).sum(), raw)
            gradients.append(gradient)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])
