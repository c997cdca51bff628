"""The sum of micro-batches: any number of processes, any number of images, parameters that are not used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_group import in_threads
from torch import Tensor, nn

from onelook.data.sampler import share_of
from onelook.processes.process_group import ProcessGroup
from onelook.training import gradients
from onelook.training.gradients import GradientSum, micro_batch_bounds

IMAGES = 6


@given(samples=st.integers(0, 300), micro_batches=st.integers(1, 40))
def test_micro_batches_cover_all_samples_in_order_and_as_evenly_as_can_be(samples: int, micro_batches: int) -> None:
    bounds = micro_batch_bounds(samples, micro_batches)
    sizes = [last - first for first, last in pairwise(bounds)]
    assert (bounds[0], bounds[-1], len(sizes)) == (0, samples, micro_batches)
    assert min(sizes) >= samples // micro_batches and max(sizes) <= -(-samples // micro_batches)


@given(samples=st.integers(0, 300), size=st.integers(1, 12), own=st.integers(1, 6))
def test_the_micro_batches_of_a_process_are_what_it_loads(samples: int, size: int, own: int) -> None:
    bounds = micro_batch_bounds(samples, size * own)
    for rank in range(size):
        loaded = share_of(range(samples), rank, size)
        assert list(range(bounds[rank * own], bounds[(rank + 1) * own])) == loaded


def network() -> nn.Sequential:
    """A few layers, one of which is never used; always the same."""
    layers = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Tanh(), nn.Linear(3, 2))
    layers.add_module("idle", nn.Linear(2, 2))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.normal_(generator=random)
    return layers


def loss(model: nn.Sequential, images: Tensor) -> Tensor:
    output = images
    for layer in list(model)[:-1]:
        output = layer(output)
    return (output**2).sum() + output.sum()


def collect(
    group: ProcessGroup,
    images: Tensor,
    *,
    micro_batches: int,
    strict: bool = False,
    batches: int = 1,
    discarded: bool = False,
) -> list[Tensor | None]:
    """The gradients that one process ends up with after some batches."""
    model = network()
    total = GradientSum(model, group, num_micro_batches=micro_batches, strict=strict)
    own = micro_batches // group.world_size
    bounds = micro_batch_bounds(len(images), micro_batches)[group.rank * own : (group.rank + 1) * own + 1]

    def add(image_part: Tensor) -> None:
        for first, last in pairwise(bounds):
            if first < last:
                loss(model, image_part[first:last]).backward()
                total.end_micro_batch()

    for batch in range(batches):
        if discarded:
            total.begin()
            add(images * 100)
            total.exchange()
            total.discard()
        total.begin()
        add(images + batch)
        total.exchange()
        total.accept()
    return [parameter.grad for parameter in model.parameters()]


def bits(gradients: Sequence[Tensor | None]) -> list[bytes | None]:
    return [None if gradient is None else gradient.numpy().tobytes() for gradient in gradients]


def everywhere(size: int, work: Callable[[ProcessGroup], list[Tensor | None]]) -> list[Tensor | None]:
    """What `work` gives, which must be the same in all processes."""
    found = [work(ProcessGroup())] if size == 1 else in_threads(size, work)
    assert all(bits(other) == bits(found[0]) for other in found)
    return found[0]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(IMAGES, 5, generator=torch.Generator().manual_seed(7))


def test_one_process_gives_what_autograd_does(images: Tensor) -> None:
    model = network()
    loss(model, images).backward()
    expected = [parameter.grad for parameter in model.parameters()]
    assert bits(collect(ProcessGroup(), images, micro_batches=1)) == bits(expected)
    for found, wanted in zip(collect(ProcessGroup(), images, micro_batches=4), expected, strict=True):
        assert (found is None and wanted is None) or torch.allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bucket_bytes", [1, 100, gradients.BUCKET_BYTES])
@pytest.mark.parametrize("count", range(IMAGES + 1))
def test_two_processes_give_the_bits_of_one(
    images: Tensor, count: int, bucket_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "BUCKET_BYTES", bucket_bytes)
    one, two = (
        everywhere(size, lambda group: collect(group, images[:count], micro_batches=2, batches=3)) for size in (1, 2)
    )
    assert bits(one) == bits(two)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(0, 9),
    micro_batches=st.sampled_from([2, 4, 6, 12]),
    chunk=st.integers(1, 99),
)
def test_strict_sums_have_the_same_bits_for_any_number_of_processes(
    seed: int, count: int, micro_batches: int, chunk: int
) -> None:
    images = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradients, "STRICT_CHUNK", chunk)
        found = [
            bits(
                everywhere(
                    size, lambda group: collect(group, images, micro_batches=micro_batches, strict=True, batches=2)
                )
            )
            for size in (1, 2, 3, 4, 6)
            if micro_batches % size == 0
        ]
    assert all(other == found[0] for other in found)


def test_without_strict_more_processes_agree_but_for_rounding(images: Tensor) -> None:
    one, four = (everywhere(size, lambda group: collect(group, images, micro_batches=4)) for size in (1, 4))
    assert bits(one) != bits(four), "if the order did not matter, strict sums would not be needed"
    for mine, theirs in zip(one, four, strict=True):
        assert (mine is None and theirs is None) or torch.allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_parameter_that_nothing_depends_on_keeps_no_gradient(images: Tensor, size: int, strict: bool) -> None:
    found = everywhere(size, lambda group: collect(group, images, micro_batches=4, strict=strict, batches=2))
    assert [gradient is None for gradient in found] == [False] * 6 + [True] * 2


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_that_is_discarded_leaves_no_trace(images: Tensor, size: int, strict: bool) -> None:
    def work(discarded: bool) -> list[bytes | None]:
        return bits(
            everywhere(
                size,
                lambda group: collect(group, images, micro_batches=2, strict=strict, batches=2, discarded=discarded),
            )
        )

    assert work(discarded=True) == work(discarded=False)


@pytest.mark.parametrize("strict", [False, True])
def test_a_micro_batch_that_is_not_finished_counts_as_zeros_and_blocks_nobody(images: Tensor, strict: bool) -> None:
    def work(group: ProcessGroup) -> list[Tensor | None]:
        model = network()
        total = GradientSum(model, group, num_micro_batches=2, strict=strict)
        total.begin()
        if group.rank == 0:
            loss(model, images).backward()
            total.end_micro_batch()
        total.exchange()
        total.accept()
        return [parameter.grad for parameter in model.parameters()]

    assert bits(everywhere(2, work)) == bits(collect(ProcessGroup(), images, micro_batches=1))


def test_gradients_take_the_memory_layout_of_their_parameters() -> None:
    def work(group: ProcessGroup) -> list[Tensor | None]:
        model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        total = GradientSum(model, group, num_micro_batches=2)
        total.begin()
        if group.rank == 0:
            model(torch.ones(1, 3, 5, 5)).sum().backward()
            total.end_micro_batch()
        total.exchange()
        total.accept()
        assert model.weight.grad is not None and model.weight.grad.stride() == model.weight.stride()
        return [parameter.grad for parameter in model.parameters()]

    everywhere(2, work)
