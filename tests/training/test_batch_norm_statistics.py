"""Running statistics of a batch in micro-batches: the same bits wherever the micro-batches are computed."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from thread_group import in_threads
from torch import Tensor, nn

from onelook.losses.detection_loss import DetectionLoss
from onelook.processes.process_group import ProcessGroup
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.anchors import AnchorGrid
from onelook.training.batch_norm_statistics import SharedStatistics
from onelook.training.gradients import micro_batch_bounds

CHANNELS = 3
IMAGES = torch.randn(7, CHANNELS, 4, 4, generator=torch.Generator().manual_seed(1)) * 3 + 1
State = dict[str, Tensor]


def network() -> nn.Sequential:
    model = nn.Sequential(nn.BatchNorm2d(CHANNELS, momentum=0.3), nn.BatchNorm2d(CHANNELS), nn.BatchNorm2d(CHANNELS))
    model[2].eval()  # frozen: its statistics do not move
    return model


def criterion() -> DetectionLoss:
    grid = AnchorGrid(torch.ones(2, 1, 2), torch.tensor([8.0, 16.0]))
    return DetectionLoss(grid, num_classes=1, imgsz=64, hyperparameters=Hyperparameters(), auto_balance=True)


def after(group: ProcessGroup, count: int, *, micro_batches: int, batches: int = 2, discarded: bool = False) -> State:
    """The statistics that one process ends up with; every micro-batch also moves the weights of the loss."""
    model, loss = network(), criterion()
    statistics = SharedStatistics(model, loss, group)
    bounds = micro_batch_bounds(count, micro_batches)
    own = micro_batches // group.world_size

    def run(images: Tensor) -> None:
        statistics.begin([first < last for first, last in pairwise(bounds)])
        for first, last in pairwise(bounds[group.rank * own : (group.rank + 1) * own + 1]):
            if first < last:
                model(images[first:last])
                loss.balance = loss.balance * 0.9 + images[first:last].mean() * 0.1
                statistics.end_micro_batch()

    for batch in range(batches):
        if discarded:
            run(IMAGES * 50)
            statistics.discard()
        run(IMAGES + batch)
        statistics.finish(torch.zeros(own, 0))
    return {**model.state_dict(), "balance": loss.balance}


def bits(state: State) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in state.items()}


def everywhere(size: int, count: int, *, micro_batches: int) -> State:
    found = in_threads(size, lambda group: after(group, count, micro_batches=micro_batches)) if size > 1 else []
    found = found or [after(ProcessGroup(), count, micro_batches=micro_batches)]
    assert all(bits(other) == bits(found[0]) for other in found)
    return found[0]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("micro_batches", [2, 4, 12])
def test_any_number_of_processes_leaves_the_same_bits(count: int, micro_batches: int) -> None:
    found = [
        bits(everywhere(size, count, micro_batches=micro_batches)) for size in (1, 2, 4) if micro_batches % size == 0
    ]
    assert all(other == found[0] for other in found)


def test_a_batch_in_one_micro_batch_moves_them_as_torch_does() -> None:
    model = network()
    for batch in range(2):
        model(IMAGES + batch)
    found = after(ProcessGroup(), len(IMAGES), micro_batches=1)
    assert bits(model.state_dict()) == {name: value for name, value in bits(found).items() if name != "balance"}


def test_each_layer_is_left_with_the_mean_over_the_micro_batches_that_had_images() -> None:
    """Three micro-batches of an image each, and one that is empty."""
    alone = []
    for image in range(3):
        layer = nn.BatchNorm2d(CHANNELS, momentum=0.3)
        layer(IMAGES[image : image + 1])
        alone.append(layer.running_mean)
    found = after(ProcessGroup(), 3, micro_batches=4, batches=1)
    assert torch.allclose(found["0.running_mean"], torch.stack(alone).mean(0), rtol=1e-6)
    assert found["0.num_batches_tracked"] == 1, "a batch counts once, whatever its micro-batches"
    assert torch.equal(found["2.running_mean"], torch.zeros(CHANNELS)) and found["2.num_batches_tracked"] == 0


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_a_batch_that_is_discarded_leaves_no_trace(micro_batches: int) -> None:
    assert bits(after(ProcessGroup(), 7, micro_batches=micro_batches, discarded=True)) == bits(
        after(ProcessGroup(), 7, micro_batches=micro_batches)
    )


def test_layers_have_their_counters_again_after_an_error() -> None:
    model, loss = network(), criterion()
    statistics = SharedStatistics(model, loss, ProcessGroup())
    statistics.begin([True])
    model(IMAGES)
    statistics.discard()
    assert bits(model.state_dict()) == bits(network().state_dict())
