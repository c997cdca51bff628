"""Batch normalisation over processes: what torch's layer gives for the images of all of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_group import in_threads
from torch import Tensor, nn

from onelook.processes.process_group import ProcessGroup
from onelook.training.sync_norm import SyncBatchNorm, synchronise_normalisation

Outcome = dict[str, Tensor]


def layer(channels: int, dtype: torch.dtype = torch.float64) -> nn.BatchNorm2d:
    """A layer with weights and statistics that are not the first ones; always the same."""
    random = torch.Generator().manual_seed(3)
    found = nn.BatchNorm2d(channels, momentum=0.03, eps=1e-3, dtype=dtype)
    with torch.no_grad():
        for tensor in (found.weight, found.bias, found.running_mean, found.running_var):
            assert tensor is not None
            tensor.uniform_(0.5, 2.0, generator=random)
    return found


def outcome(norm: nn.Module, images: Tensor, towards: Tensor) -> Outcome:
    """What comes out of a layer, and what goes back through it, for a gradient `towards` of its output."""
    given_images = images.clone().requires_grad_()
    output = norm(given_images)
    output.backward(towards)
    found = {"output": output.detach(), "images": given_images.grad}
    found |= {name: parameter.grad for name, parameter in norm.named_parameters()}
    return {**found, **{name: buffer.clone() for name, buffer in norm.named_buffers()}}


def shared_out(bounds: list[int], images: Tensor, towards: Tensor) -> Outcome:
    """The same for a layer whose images are shared out; parts are put together, gradients of weights added up."""

    def work(group: ProcessGroup) -> Outcome:
        own = slice(*bounds[group.rank : group.rank + 2])
        norm = SyncBatchNorm(layer(images.shape[1], images.dtype), group)
        return outcome(norm, images[own], towards[own])

    parts = in_threads(len(bounds) - 1, work)
    joined = {name: torch.cat([part[name] for part in parts]) for name in ("output", "images")}
    joined |= {name: torch.stack([part[name] for part in parts]).sum(0) for name in ("weight", "bias")}
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert all(torch.equal(part[name], parts[0][name]) for part in parts), "all processes have the same statistics"
        joined[name] = parts[0][name]
    return joined


@settings(max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 5), min_size=2, max_size=4).filter(any),
    channels=st.integers(1, 4),
    height=st.integers(1, 5),
    width=st.integers(1, 4),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    seed=st.integers(0, 2**31),
)
def test_output_gradients_and_statistics_are_those_of_one_layer_over_all_images(
    cuts: list[int], channels: int, height: int, width: int, scale: float, seed: int
) -> None:
    """Processes without any image take part, too."""
    bounds = [sum(cuts[:end]) for end in range(len(cuts) + 1)]
    if bounds[-1] * height * width < 2:  # torch refuses to normalise a single value
        height = 2
    random = torch.Generator().manual_seed(seed)
    shape = (bounds[-1], channels, height, width)
    images, towards = (torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(2))
    images = images * scale + 2 * scale
    expected = outcome(layer(channels), images, towards)
    for name, found in shared_out(bounds, images, towards).items():
        largest = expected[name].abs().max().double()
        rounding = 1e-9 * largest + 1e-12 / scale  # where two values leave hardly any gradient
        assert (found.double() - expected[name].double()).abs().max() <= rounding, name


def test_the_gradient_is_that_of_the_function() -> None:
    """By finite differences, each process's images apart, the other's fixed."""
    random = torch.Generator().manual_seed(5)
    images = torch.randn(5, 2, 3, 2, generator=random, dtype=torch.float64)
    towards = torch.randn(5, 2, 3, 2, generator=random, dtype=torch.float64)
    gradient = shared_out([0, 2, 5], images, towards)["images"]
    step = 1e-6
    for place in range(0, images.numel(), 7):
        moved = [images.clone(), images.clone()]
        moved[0].view(-1)[place] += step
        moved[1].view(-1)[place] -= step
        up, down = ((shared_out([0, 2, 5], values, towards)["output"] * towards).sum() for values in moved)
        assert gradient.reshape(-1)[place].item() == pytest.approx(
            ((up - down) / (2 * step)).item(), rel=1e-5, abs=1e-7
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types_come_out_as_they_went_in(dtype: torch.dtype) -> None:
    images = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    expected = outcome(layer(3, torch.float32), images, torch.ones_like(images))
    norms = (SyncBatchNorm(layer(3, torch.float32), ProcessGroup()), layer(3, torch.float32))
    found = outcome(norms[0], images.to(dtype), torch.ones_like(images, dtype=dtype))
    assert found["output"].dtype == found["images"].dtype == dtype
    assert torch.allclose(found["output"].float(), expected["output"], rtol=0.02, atol=0.02)
    assert found["running_var"].dtype == torch.float32


def test_in_evaluation_it_does_what_the_layer_did() -> None:
    images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    before = layer(3, torch.float32).eval()
    assert torch.equal(SyncBatchNorm(before, ProcessGroup())(images), before(images))


def test_the_layers_of_a_model_are_replaced_and_all_tensors_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.SiLU()), nn.BatchNorm2d(4))
    model[2].eval()
    before = dict(model.state_dict(keep_vars=True))
    synchronise_normalisation(model, ProcessGroup())
    after = dict(model.state_dict(keep_vars=True))
    assert [type(layer).__name__ for layer in (model[1][0], model[2])] == ["SyncBatchNorm"] * 2
    assert list(before) == list(after) and all(before[name] is after[name] for name in before)
    assert model[1][0].training and not model[2].training


def test_the_bounds_of_a_share_are_those_of_the_images() -> None:
    """The helper of these tests: no image is lost or used twice."""
    images = torch.arange(6.0, dtype=torch.float64).view(6, 1, 1, 1)
    found = shared_out([0, 1, 1, 6], images, torch.ones_like(images))
    assert len(found["output"]) == 6 and all(a < b for a, b in pairwise(found["output"].flatten().tolist()))
