"""What a training step asks of the device: how many operations, no float64 where there is none, and never to wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import write_table
from synthetic_index import make_index
from thread_group import ThreadGroup, in_threads
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onelook.errors import StopRequested
from onelook.geometry.nms import non_max_suppression
from onelook.inference.evaluator import EvaluationSettings, Evaluator
from onelook.losses.distillation import TeacherPredictions, distillation_terms
from onelook.models.detector import create_model
from onelook.models.fuse import folded
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TrainSettings
from onelook.structures.batch import Batch, ImageInfo, Targets
from onelook.training.batch_gradient import BatchGradient
from onelook.training.callback import Observers
from onelook.training.checkpoint_keeper import Keeper
from onelook.training.ema import ModelEma
from onelook.training.families import create_loss
from onelook.training.network_passes import ComputeOptions
from onelook.training.optimizer import create_optimizer
from onelook.training.schedule import Schedule
from onelook.training.state import Progress, TrainState
from onelook.training.teacher import Teacher
from onelook.training.trainer import Trainer, widest_float

# Of a whole step; the bodies need 462, 812 and 744 of them, and a branch of points some 430 for its loss.
MOST_OPERATIONS = {"yolov5n": 750, "yolox-nano": 1200, "onelook5n": 1550}
MOST_OF_A_TEACHER = 450  # besides what its network needs
WAITS = (
    "aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal", "aten::masked_select",
    "aten::repeat_interleave", "aten::bincount", "aten::_unique2",
)  # fmt: skip
NO_WORK = ("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty")
SETTINGS = {
    "imgsz": 64, "batch_size": 4, "cfg": "yolov5n", "epochs": 10, "warmup_epochs": 0, "auto_balance": True,
}  # fmt: skip


class Operations(TorchDispatchMode):
    """Counts the operations that do work: views and fresh memory launch nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.float64: list[str] = []
        self.shapes: list[tuple[str, list[torch.Size]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        self.shapes.append((name, [value.shape for value in tree_leaves(result) if isinstance(value, Tensor)]))
        if not func.is_view and name not in NO_WORK:
            self.counts[name] += 1
        if name.startswith("aten::index") and any(
            isinstance(value, Tensor) and value.dtype == torch.bool for value in tree_leaves(args[1])
        ):
            self.counts["aten::nonzero"] += 1  # how many are true?
        if any(isinstance(value, Tensor) and value.dtype == torch.float64 for value in tree_leaves(result)):
            self.float64.append(name)
        return result


@dataclass(frozen=True)
class Counted(ThreadGroup):
    """Notes each exchange."""

    made: list[int] = field(default_factory=list)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        self.made.append(tensor.numel())
        return super().gather(tensor)


def batch_of(boxes_per_image: int) -> Batch:
    rng = np.random.Generator(np.random.Philox(key=boxes_per_image))
    count = 4 * boxes_per_image
    boxes = np.column_stack([rng.uniform(0, 1, (count, 2)), rng.uniform(0.05, 0.9, (count, 2))]).astype(np.float32)
    classes = torch.from_numpy(rng.integers(0, 3, count))
    targets = Targets(torch.arange(4).repeat_interleave(boxes_per_image), classes, torch.from_numpy(boxes))
    images = torch.from_numpy(rng.integers(0, 256, (4, 3, 64, 64), dtype=np.uint8))
    return Batch(images, targets, tuple(ImageInfo(number, "", (64, 64)) for number in range(4)))


def state_on(
    device: torch.device, settings: TrainSettings, schedule: Schedule, adapters: nn.ModuleList | None = None
) -> TrainState:
    adapters = nn.ModuleList() if adapters is None else adapters
    with device:
        model = create_model(settings.cfg, num_classes=3).train()
    return TrainState(
        model=model.to(memory_format=torch.channels_last),
        ema=ModelEma(model, total_updates=schedule.total_updates),
        optimizer=create_optimizer(nn.ModuleList([model, adapters]), settings, schedule.weight_decay),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        loss=create_loss(create_model(settings.cfg, num_classes=3), settings, closing=0.0),
        progress=Progress(micro_batches=1),
        adapters=adapters,
    )


def trainer(
    *,
    group: ProcessGroup | None = None,
    batches: Iterator[Batch] | None = None,
    stop: StopSignal | None = None,
    micro_batches: int = 1,
    teacher: Teacher | None = None,
    **given: Any,
) -> Trainer:
    settings = TrainSettings.model_validate({**SETTINGS, "optimizer": "SGD", **given})
    schedule = Schedule(settings, num_images=40)
    adapters = teacher.adapters(seed=0) if teacher is not None else None
    evaluator = Evaluator(make_index([]), list, num_classes=3, settings=EvaluationSettings())
    state = state_on(torch.device("cpu"), settings, schedule, adapters)
    state.progress.micro_batches = micro_batches
    return Trainer(
        state,
        iter(()) if batches is None else batches,
        schedule=schedule,
        compute=ComputeOptions(torch.device("cpu")),
        evaluator=evaluator,
        keeper=Keeper(),
        observers=Observers([]),
        stop=StopSignal() if stop is None else stop,
        group=group,
        teacher=teacher,
    )


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"optimizer": "AdamW"},
        pytest.param({"nominal_batch": 8}, marks=pytest.mark.slow),
        pytest.param({"micro_batch": 4}, marks=pytest.mark.slow),
        {"cfg": "yolox-nano"},
        {"cfg": "onelook5n"},
    ],
)
def test_a_nano_step_stays_within_its_budget_and_waits_for_nothing(given: dict[str, Any]) -> None:
    """Whatever the targets; the step before it has been judged by then, and its verdict is in main memory."""
    loop = trainer(**given)
    for boxes in (5, 2):
        loop.train_step(batch_of(boxes))
    for boxes in (0, 3, 100):
        with Operations() as step:
            loop.train_step(batch_of(boxes))
        assert step.counts.total() <= MOST_OPERATIONS[loop.schedule.settings.cfg], step.counts.most_common(20)
        assert not [name for name in WAITS if step.counts[name]]


@pytest.mark.parametrize("head", ["Detect", "YoloX"])
def test_a_step_with_a_teacher_waits_for_nothing_either(head: str, tmp_path: Path) -> None:
    """Whatever it sees in the images."""
    cfg = str(write_table(head, tmp_path))
    student, model = (create_model(cfg, num_classes=3, seed=seed) for seed in (0, 1))
    counts = {}
    for teacher in (None, Teacher(model, student, teach="both")):
        loop = trainer(cfg=cfg, teacher=teacher)
        for boxes in (5, 2):
            loop.train_step(batch_of(boxes))
        with Operations() as step:
            loop.train_step(batch_of(3))
        assert not [name for name in WAITS if step.counts[name]]
        counts[teacher is None] = step.counts.total()
    with Operations() as network, torch.inference_mode():
        model.eval()(batch_of(3).images.float() / 255)
    assert counts[False] <= counts[True] + network.counts.total() + MOST_OF_A_TEACHER


def test_no_shape_in_what_a_teacher_says_depends_on_what_it_sees() -> None:
    found = []
    for objectness in (0.0, 0.05, 0.9):
        goals, student = torch.rand((2, 4, 84, 8), generator=torch.Generator().manual_seed(1))
        goals[..., 4] *= objectness
        teacher = TeacherPredictions(goals, torch.full((84,), 8.0), torch.tensor([True, False, True]))
        with Operations() as operations:
            distillation_terms(student.requires_grad_(), teacher).total.backward()  # type: ignore[no-untyped-call]
        assert not [name for name in WAITS if operations.counts[name]]
        found.append(operations.shapes)
    assert found[0] == found[1] == found[2] and len(found[0]) > 50


@pytest.mark.parametrize("cfg", MOST_OPERATIONS)
def test_no_shape_in_a_loss_depends_on_predictions_or_classes(cfg: str) -> None:
    """The same boxes, but which points learn them, and how many, is another matter; so is what waits."""
    model, boxes = create_model(cfg, num_classes=3).train(), batch_of(20).targets
    loss = create_loss(model, TrainSettings.model_validate({**SETTINGS, "cfg": cfg}))
    found = []
    given = [(batch_of(1).images, boxes.class_ids), (batch_of(2).images * 0, boxes.class_ids * 0)]
    for images, classes in [given[0], *given]:  # what is there once is made the first time
        maps = [raw_map.detach().requires_grad_() for raw_map in model(images.float() / 255)]
        prepared = loss.prepare(maps, Targets(boxes.image_index, classes, boxes.boxes), 1.0)
        with Operations() as operations:
            loss.terms(maps, prepared).total.backward()  # type: ignore[no-untyped-call]
        assert not [name for name in WAITS if operations.counts[name]]
        found.append(operations.shapes)
    assert found[1] == found[2] and len(found[1]) > 200


def test_two_processes_exchange_two_tensors_a_step_beside_the_gradient() -> None:
    """Whether memory suffices and whether to stop; statistics and losses. The first step also agrees on what is used,
    and an epoch begins with a question about a stop. A stop is seen by all after the step in which it was asked for.
    """

    def exchanges(group: ProcessGroup) -> tuple[list[int], int]:
        counted, stop, counts = Counted(group.rank, group.world_size, table=group.table), StopSignal(), []  # type: ignore[attr-defined]

        def batches() -> Iterator[Batch]:
            for step in range(5):
                counts.append(len(counted.made))
                counted.made.clear()
                if step == 3 and group.rank == 1:
                    stop.request("SIGTERM")
                yield batch_of(5).part(2 * group.rank, 2 * group.rank + 2)

        loop = trainer(group=counted, batches=batches(), stop=stop, micro_batches=2)
        with pytest.raises(StopRequested, match="SIGTERM"):
            loop.train_epoch()
        return counts, loop.state.progress.step

    buckets = 1  # all gradients of a nano model are less than 25 MiB
    assert in_threads(2, exchanges) == [([0, 3 + buckets, 2 + buckets, 2 + buckets], 4)] * 2


def test_forward_loss_and_backward_need_no_float64() -> None:
    settings = TrainSettings.model_validate({**SETTINGS, "optimizer": "SGD"})
    schedule, device = Schedule(settings, num_images=40), torch.device("cpu")
    state = state_on(device, settings, schedule)
    gradient = BatchGradient(state, ProcessGroup(), schedule=schedule, compute=ComputeOptions(device))
    with Operations() as step:
        gradient.add(batch_of(7), schedule.at(0))
    assert all(parameter.grad is not None for parameter in state.model.parameters())
    assert step.counts["aten::convolution_backward"] > 50 and step.float64 == []


class Narrow(Tensor):
    """A tensor of a device that has no float64, such as Apple's; `cpu` takes it from there."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        if getattr(func, "__name__", "") == "cpu":
            return result.as_subclass(Tensor)
        if isinstance(result, Tensor) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self.clone()


def test_batch_norm_is_folded_without_float64_on_the_device() -> None:
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
    norm(torch.randn(4, 8, 5, 5))
    expected = folded(convolution, norm)
    for store in (convolution._parameters, norm._parameters, norm._buffers):
        for name, value in store.items():
            store[name] = None if value is None else value.detach().as_subclass(Narrow)  # type: ignore[assignment]
    found = folded(convolution, norm)
    assert torch.equal(found.weight, expected.weight) and torch.equal(found.bias, expected.bias)


@pytest.mark.parametrize("name", ["yolov5n", "onelook5n", "yolox-nano"])
def test_losses_and_boxes_of_all_families_need_no_float64_on_the_device(name: str) -> None:
    """Assignments are worked out in float64 where the targets are, which is not on the device."""
    model, batch = create_model(name, num_classes=3).train(), batch_of(7)
    maps = [raw.detach().as_subclass(Narrow).requires_grad_() for raw in model(batch.images.float() / 255)]
    settings = TrainSettings.model_validate({**SETTINGS, "cfg": name})
    create_loss(model, settings)(maps, batch.targets, 0.5).total.backward()  # type: ignore[no-untyped-call]
    assert all(raw.grad is not None and raw.grad.isfinite().all() for raw in maps)
    with pytest.raises(TypeError, match="MPS"):
        maps[0].double()
    for branch in model.branches:
        rows = model.decode_branch(maps, branch).detach()
        assert isinstance(rows, Narrow) and rows.dtype == torch.float32
        assert len(non_max_suppression(rows, conf_thres=0.001, iou_thres=0.5)) == 4


def test_sums_are_in_float64_where_there_is_any() -> None:
    assert [widest_float(torch.device(kind)) for kind in ("cpu", "cuda", "mps")] == [
        torch.float64, torch.float64, torch.float32,
    ]  # fmt: skip
