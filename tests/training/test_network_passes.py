"""Recorded and compiled passes give what plain ones do, for full batches of unchanged size; others stay plain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import TABLES, write_table
from synthetic_index import make_index
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from onelook.data.rectangles import own_frames
from onelook.inference.evaluator import EvaluationSettings, Evaluator
from onelook.losses.assignment import _constants
from onelook.losses.detection_loss import _strides_and_first_cells
from onelook.losses.distillation import DistillationTargets, TeacherOutputs, TeacherPredictions
from onelook.losses.points.grid import _grid
from onelook.models.detector import DetectionModel, create_model
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TrainSettings
from onelook.structures.batch import Batch, ImageInfo, Targets
from onelook.training.batch_gradient import multi_scale_size
from onelook.training.batch_trial import TrialRequest, TrialRun
from onelook.training.callback import Observers
from onelook.training.captured import (
    MOST_REMEMBERED,
    CapturedLoss,
    CapturedNetwork,
    CudaRecorder,
    Recording,
    Results,
    _kept,
)
from onelook.training.checkpoint_keeper import Keeper
from onelook.training.compiled import compiled, compiled_for
from onelook.training.families import create_loss
from onelook.training.freeze import frozen_rows, set_training_mode
from onelook.training.network_passes import ComputeOptions
from onelook.training.schedule import Schedule
from onelook.training.state import initial_state
from onelook.training.teacher import Teacher
from onelook.training.trainer import Trainer

SIDE = 64
# Batches of 4, 4, 3, 4 and 3 images in an epoch; updates of two batches, so that gradients are added up.
SETTINGS = {"imgsz": SIDE, "batch_size": 4, "nominal_batch": 8, "epochs": 2, "optimizer": "SGD", "lr0": 0.01}
NUM_IMAGES, STEPS = 18, 10


class Again:
    """What a CUDA graph does, without one: to replay is to do the work again and to put what it gives in one place."""

    def __init__(self) -> None:
        self.replays = 0
        self.others: list[Again] = []  # of the network, of the loss, and both again for each preparation after that

    def apart(self) -> Again:
        self.others.append(Again())
        return self.others[-1]

    def warm_up(self, work: Callable[[], object]) -> None:
        work()
        work()

    def record(self, work: Callable[[], Results]) -> Recording:
        results = tuple(None if result is None else result.clone() for result in work())

        def replay() -> None:
            self.replays += 1
            for place, result in zip(results, work(), strict=True):
                assert (place is None) == (result is None)
                if place is not None and result is not None:
                    place.copy_(result)

        return Recording(results, replay)


@dataclass(frozen=True)
class Patient(ProcessGroup):
    """A group of one that notes how often it rests."""

    rests: list[bool] = field(default_factory=list)

    @contextmanager
    def resting(self) -> Iterator[None]:
        self.rests.append(True)
        yield


def batch_of(step: int, count: int) -> Batch:
    """Other images and boxes at each step."""
    rng = np.random.Generator(np.random.Philox(key=step))
    boxes = np.column_stack([rng.uniform(0.2, 0.8, (3 * count, 2)), rng.uniform(0.1, 0.6, (3 * count, 2))])
    classes = torch.from_numpy(rng.integers(0, 3, 3 * count))
    targets = Targets(torch.arange(count).repeat_interleave(3), classes, torch.from_numpy(boxes.astype(np.float32)))
    images = torch.from_numpy(rng.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8))
    return Batch(images, targets, tuple(ImageInfo(number, "", (SIDE, SIDE)) for number in range(count)))


def trainer(
    cfg: str | Path,
    *,
    compute: ComputeOptions | None = None,
    micro_batches: int = 1,
    group: ProcessGroup | None = None,
    taught_by: DetectionModel | None = None,
    **given: Any,
) -> Trainer:
    compute = ComputeOptions(torch.device("cpu")) if compute is None else compute
    settings = TrainSettings.model_validate({**SETTINGS, "cfg": str(cfg), **given})
    schedule = Schedule(settings, num_images=NUM_IMAGES)
    model = create_model(settings.cfg, num_classes=3).to(compute.device, memory_format=torch.channels_last)
    compute = replace(compute, frozen=tuple(frozen_rows(model, settings.freeze)), max_stride=model.max_stride)
    teacher = Teacher(taught_by, model, teach="both", amp=compute.amp) if taught_by is not None else None
    adapters = teacher.adapters(settings.seed) if teacher is not None else None
    state = initial_state(model, settings, schedule, device=compute.device, amp=compute.amp, adapters=adapters)
    state.progress.micro_batches = micro_batches
    return Trainer(
        state,
        iter(()),
        schedule=schedule,
        compute=compute,
        evaluator=Evaluator(make_index([]), list, num_classes=3, settings=EvaluationSettings()),
        keeper=Keeper(),
        observers=Observers([]),
        stop=StopSignal(),
        group=group,
        teacher=teacher,
    )


def run_steps(loop: Trainer, steps: int = STEPS) -> dict[str, Tensor]:
    """All tensors of the state after the steps, and the sums of the losses."""
    progress = loop.state.progress
    set_training_mode(loop.state.model, loop.step.compute.frozen)
    for step in range(steps):
        loop.train_step(batch_of(step, loop.schedule.images_in(progress.batch)))
        if progress.batch == loop.schedule.batches_per_epoch:
            progress.epoch, progress.batch = progress.epoch + 1, 0
    return {**loop.state.tensors(), "losses": loop._loss_sums}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


CASES = [  # model, micro-batches, settings
    ("Detect", 2, {"multi_scale": True, "optimizer": "AdamW"}),
    ("YoloX", 1, {"freeze": [2]}),
    pytest.param("yolov5n", 2, {"multi_scale": True, "optimizer": "AdamW"}, marks=pytest.mark.slow),
    pytest.param("yolox-nano", 1, {"freeze": [2]}, marks=pytest.mark.slow),
    pytest.param("onelook5n", 2, {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("model", "micro_batches", "given"), CASES)
def test_recorded_passes_give_the_bits_of_plain_ones(
    model: str, micro_batches: int, given: dict[str, Any], tmp_path: Path
) -> None:
    """Over two epochs, whatever the loss; batch-norm statistics and unused weights included."""
    cfg = str(write_table(model, tmp_path)) if model in TABLES else model
    recorder, group = Again(), Patient()
    compute = ComputeOptions(torch.device("cpu"), recorder=recorder)
    plain = run_steps(trainer(cfg, micro_batches=micro_batches, **given))
    recorded = run_steps(trainer(cfg, micro_batches=micro_batches, compute=compute, group=group, **given))
    assert differing(plain, recorded) == []
    is_usual = [not given.get("multi_scale") or multi_scale_size(0, step, SIDE, 32) == SIDE for step in range(STEPS)]
    batches = [size for size, usual in zip([4, 4, 3, 4, 3] * 2, is_usual, strict=True) if usual]
    uses = Counter(
        size for batch in batches for size in ([batch // 2, -(-batch // 2)] if micro_batches == 2 else [batch])
    )
    replayed = sum(count - 1 for count in uses.values())
    of_network, of_loss = recorder.others
    assert of_network.replays == 2 * replayed > 0, "forward and backward of batches of unchanged size, after one"
    assert of_loss.replays > 0, "of losses, when their targets have had the same length before"
    assert len(group.rests) == sum(min(count, 2) for count in uses.values()), "in that one, and while they are recorded"


def test_what_a_teacher_says_is_recorded_with_the_loss(tiny_model: Path) -> None:
    """And kept once, for all lengths of targets; the weights of its features move."""
    recorder, teacher = Again(), create_model(tiny_model, num_classes=3, seed=9)
    loop = trainer(tiny_model, taught_by=teacher, compute=ComputeOptions(torch.device("cpu"), recorder=recorder))
    plain = run_steps(trainer(tiny_model, taught_by=teacher), 6)
    recorded = run_steps(loop, 6)
    assert differing(plain, recorded) == []
    assert recorder.others[1].replays == 2 * (3 + 1), "batches of 4 and of 3, when they come again"
    assert "adapters/0.weight" in plain and any(name.startswith("adapters_optimizer/") for name in plain)


def test_what_does_not_grow_with_the_targets_is_kept_once_for_all_recordings() -> None:
    places: dict[Any, Tensor] = {}
    kept = []
    for length in (16, 32):
        predictions = TeacherPredictions(torch.rand(2, 21, 8), torch.ones(21), torch.ones(3, dtype=torch.bool))
        numbers = torch.zeros(length, dtype=torch.long)
        features = (torch.rand(2, 4, 4, 4), torch.rand(2, 4, 2, 2))
        outputs = TeacherOutputs(predictions, features, torch.ones(()))
        kept.append(_kept(DistillationTargets(numbers, numbers, torch.rand(length, 4), outputs), places))
    first, second = kept
    assert first.boxes.shape == (16, 4) and second.boxes.shape == (32, 4)
    assert first.teacher.predictions.decoded is second.teacher.predictions.decoded
    assert all(one is other for one, other in zip(first.teacher.features, second.teacher.features, strict=True))


def test_a_loss_whose_weights_move_is_not_recorded(tiny_model: Path) -> None:
    recorder, given = Again(), {"auto_balance": True}
    plain = run_steps(trainer(tiny_model, **given), 6)
    recorded = run_steps(
        trainer(tiny_model, compute=ComputeOptions(torch.device("cpu"), recorder=recorder), **given), 6
    )
    assert differing(plain, recorded) == [] and recorder.others[1].replays == 0 < recorder.others[0].replays


def test_a_recorded_loss_follows_the_weight_of_its_batch_and_the_part_of_the_run(tmp_path: Path) -> None:
    """A scale of the gradient comes after the loss; raw boxes of YOLOX are compared late alone."""
    table = write_table("YoloX", tmp_path)
    settings = TrainSettings.model_validate({**SETTINGS, "cfg": str(table)})
    model, batch, recorder = create_model(table, num_classes=3).train(), batch_of(0, 4), Again()
    plain = create_loss(model, settings, closing=0.5)
    captured = CapturedLoss(plain, recorder)
    maps = [raw_map.detach().requires_grad_() for raw_map in model(batch.images.float() / 255)]
    for progress, weight in [(0.0, 1.0), (0.0, 2.0), (1.0, 3.0), (0.0, 4.0), (1.0, 5.0), (1.0, 6.0)]:
        found = [loss(maps, batch.targets, progress) for loss in (plain, captured)]
        gradients = [torch.autograd.grad(terms.total * weight, maps) for terms in found]
        assert torch.equal(found[0].values, found[1].values)
        assert all(map(torch.equal, *gradients))
    assert recorder.replays == 2 * 5, "all but the first: the part of the run needs no recording of its own"


def test_recorded_losses_of_all_lengths_share_their_maps_and_give_the_bits_of_plain_ones(tmp_path: Path) -> None:
    """In turn, each forward and then backward; the last part of a run needs no recording of its own."""
    table = write_table("YoloX", tmp_path)
    settings = TrainSettings.model_validate({**SETTINGS, "cfg": str(table)})
    model, recorder = create_model(table, num_classes=3).train(), Again()
    plain = create_loss(model, settings, closing=0.5)
    captured = CapturedLoss(plain, recorder)
    for round_number in range(4):
        for copies in (1, 3, 8):
            batch = batch_of(10 * round_number + copies, 4)
            given = [torch.cat([part] * copies) for part in vars(batch.targets).values()]
            maps = [raw_map.detach().requires_grad_() for raw_map in model(batch.images.float() / 255)]
            found = [loss(maps, Targets(*given), round_number / 4) for loss in (plain, captured)]
            gradients = [torch.autograd.grad(terms.total, maps) for terms in found]
            assert torch.equal(found[0].values, found[1].values) and (found[1].values[3] > 0) == (round_number >= 2)
            assert all(map(torch.equal, *gradients))
    assert recorder.replays == 2 * 3 * 3, "all but those of the first round"
    (shared,) = captured._shared.values()
    assert len(captured._recorded) == 3 and len(shared.maps) == len(shared.gradients) == len(maps)
    assert all(recorded._shared is shared for recorded in captured._recorded.values())


def test_lengths_that_came_once_do_not_keep_others_from_being_recorded() -> None:
    captured = CapturedLoss(create_loss(create_model("yolox-nano"), TrainSettings(cfg="yolox-nano")), Again())
    assert not any(captured._is_worth_recording(("once", number)) for number in range(10 * MOST_REMEMBERED))
    assert len(captured._seen) == MOST_REMEMBERED
    assert [captured._is_worth_recording("often") for _ in range(2)] == [False, True]
    assert not captured._is_worth_recording(("once", 0)), "it is forgotten"


def test_after_a_recording_parameters_take_their_gradients_where_steps_run(tiny_model: Path) -> None:
    """And not on the stream of the recorder: each gradient would wait for both streams, and torch would warn."""

    class Marking(Again):
        def record(self, work: Callable[[], Results]) -> Recording:
            recording = super().record(work)
            for parameter in parameters:
                get_gradient_edge(parameter).node.metadata["recorded"] = True
            return recording

    model = create_model(tiny_model, num_classes=3).train()
    parameters, captured = list(model.parameters()), CapturedNetwork(model, Marking())
    for _call in range(2):
        totals = [raw_map.sum() for raw_map in captured(batch_of(0, 4).images.float() / 255)]
        torch.stack(totals).sum().backward()  # type: ignore[no-untyped-call]
        totals.clear()  # a graph would keep the nodes that take gradients
    assert captured.is_recorded
    assert not any("recorded" in get_gradient_edge(parameter).node.metadata for parameter in parameters)


@pytest.mark.parametrize(
    "made",
    [
        lambda side: _constants(((side, 1),), torch.device("cpu"))[0],
        lambda side: _strides_and_first_cells(((side, 1, 1, 1),), (side,), torch.device("cpu"))[0],
        lambda side: _grid(((side, 1),), (8.0,), torch.float32, torch.device("cpu")).cells,
    ],
)
def test_what_a_recorded_loss_reads_stays_however_many_other_shapes_come(made: Callable[[int], Tensor]) -> None:
    """A recording knows where it lies and does not ask for it again: in fresh memory it would read anything."""
    kept = made(1)
    for side in range(2, 200):
        made(side)
    assert made(1) is kept


def test_a_trial_of_a_batch_size_records_what_the_run_will_record(tiny_model: Path) -> None:
    settings = TrainSettings(imgsz=160, multi_scale=True, noplots=True, cfg=str(tiny_model))
    model, recorder, side = create_model(tiny_model, num_classes=3), Again(), (160, 160)
    request = TrialRequest(
        model.definition, model.names, settings, "cpu", num_images=4, num_val_images=4, frame_hw=side, val_frame_hw=side
    )
    TrialRun(request, model, 2, recorder=recorder).run()
    assert [other.replays >= 2 * 2 for other in recorder.others] == [True, True]


def test_after_a_shortage_of_memory_smaller_parts_are_recorded(tiny_model: Path) -> None:
    recorder = Again()
    loop = trainer(tiny_model, compute=ComputeOptions(torch.device("cpu"), recorder=recorder))
    run_steps(loop, 2)
    loop.step.gradient._halve_micro_batches(None)
    run_steps(loop, 2)
    replays = [other.replays for other in recorder.others[::2]]
    assert replays == [2, 2 * 2], "of two batches of 4; of parts of 1 and 2, and of 2 and 2, in memory of their own"
    assert {shape[0] for shape in loop.step.gradient._passes._captured} == {1, 2}, "the first recording is forgotten"


class Graphs:
    """A backend that runs graphs as they are, and notes the images of each."""

    def __init__(self) -> None:
        self.shapes: list[torch.Size] = []

    def __call__(self, graph: nn.Module, inputs: list[Any]) -> Callable[..., Any]:
        sizes = [value.shape for value in inputs if isinstance(value, Tensor)]
        self.shapes += [size for size in sizes if len(size) == 4 and size[1] == 3 and size[2] >= 32]
        return graph.forward


def test_only_full_batches_of_unchanged_size_are_compiled(tiny_model: Path) -> None:
    """Once, under the names that the weights had; other batches go through the network as they would have."""
    torch.compiler.reset()
    graphs, group = Graphs(), Patient()
    compute = ComputeOptions(torch.device("cpu"), backend=graphs)
    plain = run_steps(trainer(tiny_model, multi_scale=True, freeze=[2]))
    found = run_steps(trainer(tiny_model, multi_scale=True, freeze=[2], compute=compute, group=group))
    assert differing(plain, found) == []
    assert len(graphs.shapes) == 1 and len(group.rests) == 1


def test_in_validation_the_commonest_shapes_are_compiled(tiny_model: Path) -> None:
    """Of all processes together, whatever this one sees first."""
    torch.compiler.reset()
    sizes = [(48, 64)] * 2 + [(64, 64)] * 5 + [(64, 48)] * 3 + [(32, 64)]
    shapes = own_frames(np.array(sizes, np.int32), imgsz=SIDE, batch_size=2, pad=0.0).common_shapes(2)
    assert shapes == [(2, 64, 64), (1, 32, 64)], "two batches of the one; of the others the first"
    graphs, group, model = Graphs(), Patient(), create_model(tiny_model, num_classes=3).eval()
    forward = compiled_for(model, compiled(model, graphs), shapes=shapes, group=group)
    with torch.inference_mode():
        for count, height, width in [(2, 64, 32), (2, 64, 64), (1, 64, 64), (2, 64, 64), (1, 32, 64)]:
            images = torch.rand(count, 3, height, width)
            assert all(map(torch.equal, forward(images), model(images)))
    assert [tuple(shape) for shape in graphs.shapes] == [(2, 3, 64, 64), (1, 3, 32, 64)]
    assert len(group.rests) == 2, "while they are compiled"


@pytest.mark.gpu
@pytest.mark.parametrize("cfg", ["yolov5n", "yolox-nano", "onelook5n"])
def test_cuda_graphs_give_the_bits_of_plain_passes(cfg: str) -> None:
    device, recorder = torch.device("cuda"), CudaRecorder()
    plain = run_steps(trainer(cfg, compute=ComputeOptions(device)))
    recorded = run_steps(trainer(cfg, compute=ComputeOptions(device, recorder=recorder)))
    assert differing(plain, recorded) == []
