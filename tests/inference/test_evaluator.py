"""Validation that is shared out: the same detections, losses and metrics for any number of processes; short of memory,
the same in smaller parts."""

from __future__ import annotations

import os
import pydoc
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from forked_ranks import require_loopback, start_ranks
from rank_faults import memory_for
from torch.nn.modules.module import register_module_forward_hook

from onelook.data.dataset import ValidationDataset
from onelook.data.loader import validation_loader
from onelook.data.scan.rules import ScanOptions
from onelook.data.splits import read_splits
from onelook.errors import MemoryShortage
from onelook.inference import evaluator
from onelook.inference.evaluator import Evaluation, EvaluationSettings, Evaluator
from onelook.losses.detection_loss import DetectionLoss
from onelook.models.detector import DetectionModel, create_model
from onelook.models.heads import Detect
from onelook.processes.process_group import ProcessGroup, joined_group
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.metrics import as_arrays

BCCD = Path(__file__).parents[2] / "examples" / "bccd" / "data.yaml"
IMGSZ = 96
Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Task:
    """A validation.

    Attributes:
        data, split: on what.
        model: YAML of the model.
        batch_size: images per batch.
        conf_thres: minimum confidence; 1 finds nothing.
        amp: type of mixed precision.
    """

    data: Path
    model: Path
    split: str = "val"
    batch_size: int = 2
    conf_thres: float = 0.001
    amp: torch.dtype | None = None


def model_of(task: Task, num_classes: int) -> DetectionModel:
    """A model that finds a lot, all of it wrong; always the same."""
    torch.manual_seed(4)
    model = create_model(str(task.model), num_classes=num_classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def evaluate(task: Task, group: ProcessGroup) -> Evaluation:
    scan = read_splits(task.data, (task.split,), options=ScanOptions()).scans[task.split]
    names = 3 if task.data == BCCD else 2
    model = model_of(task, names)
    dataset = ValidationDataset(scan.index, imgsz=IMGSZ, batch_size=task.batch_size, stride=model.max_stride)
    measured = Evaluator(
        scan.index,
        lambda: validation_loader(dataset, workers=0, rank=group.rank, world_size=group.world_size),
        num_classes=names,
        settings=EvaluationSettings(conf_thres=task.conf_thres, amp=task.amp),
        group=group,
    )
    loss = DetectionLoss(model.anchor_grid, num_classes=names, imgsz=IMGSZ, hyperparameters=Hyperparameters())
    return measured.run(model, loss=loss)


def arrays(found: Evaluation) -> Arrays:
    """All that a validation gives, but for the times."""
    result: Arrays = {f"metrics/{name}": np.asarray(value) for name, value in as_arrays(found.metrics).items()}
    result["losses"] = np.array(list(found.losses.values()))
    for image, detections in enumerate(found.detections):
        result[f"boxes/{image}"] = detections.boxes
        result[f"scores/{image}"] = detections.scores
        result[f"classes/{image}"] = detections.class_ids
    return result


def write(task: Task, folder: Path) -> int:
    with joined_group() as group:
        np.savez(folder / f"{os.environ['RANK']}.npz", allow_pickle=False, **arrays(evaluate(task, group)))
        group.leave_together()
    return 0


def shared_out(task: Task, size: int, folder: Path) -> list[Arrays]:
    """What each of `size` processes ends up with."""
    folder.mkdir()
    ranks = start_ranks(write, size, folder, arguments=(task, folder))
    assert ranks.join() == [0] * size, ranks.everything_said
    found = []
    for rank in range(size):
        with np.load(folder / f"{rank}.npz", allow_pickle=False) as file:
            found.append(dict(file))
    return found


def differences(first: Arrays, second: Arrays) -> list[str]:
    names = {**first, **second}
    return [
        name
        for name in names
        if name not in first
        or name not in second
        or first[name].tobytes() != second[name].tobytes()
        or (first[name].shape, first[name].dtype) != (second[name].shape, second[name].dtype)
    ]


@pytest.mark.parametrize(
    ("what", "size"), [("shapes in 3 batches", 2), ("shapes in 3 batches", 3), ("shapes in 1 batch", 3), ("nothing", 2)]
)
def test_any_number_of_processes_gives_the_same_bit_for_bit(
    what: str, size: int, tiny_data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    require_loopback()
    tasks = {
        "shapes in 3 batches": Task(tiny_data, tiny_model),
        "shapes in 1 batch": Task(tiny_data, tiny_model, batch_size=8),
        "nothing": Task(tiny_data, tiny_model, conf_thres=1.0),
    }
    alone = arrays(evaluate(tasks[what], ProcessGroup()))
    assert any(len(alone[f"boxes/{image}"]) for image in range(6)) == (what != "nothing")
    for found in shared_out(tasks[what], size, tmp_path / "said"):
        assert differences(alone, found) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_any_number_of_processes_gives_the_same_on_real_images(size: int, tiny_model: Path, tmp_path: Path) -> None:
    """60 images in 9 batches: 5 and 4, or 3 each."""
    require_loopback()
    task = Task(BCCD, tiny_model, batch_size=7)
    alone = arrays(evaluate(task, ProcessGroup()))
    for found in shared_out(task, size, tmp_path / "said"):
        assert differences(alone, found) == []


@pytest.mark.parametrize(
    ("images", "passes"), [(5, [6, 3, 3]), (2, [6, 3, 2, 1, 3, 2, 1]), (1, [6, 3, 2, 1, 1, 1, 3, 2, 1, 1, 1])]
)
def test_short_of_memory_batches_are_halved_and_all_stays_the_same(
    images: int, passes: list[int], tiny_data: Path, tiny_model: Path
) -> None:
    task = Task(tiny_data, tiny_model, batch_size=6)
    alone = arrays(evaluate(task, ProcessGroup()))
    with memory_for(images) as tried:
        found = arrays(evaluate(task, ProcessGroup()))
    assert tried == passes
    for name, value in alone.items():
        assert np.allclose(value, found[name], rtol=1e-4, atol=1e-3, equal_nan=True), name


@pytest.mark.parametrize("what", ["decoding", "NMS", "the loss"])
def test_whatever_runs_out_of_memory_is_done_in_halves(
    what: str, tiny_data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the network alone: decoding, NMS and the loss of a large batch need memory, too."""
    task = Task(tiny_data, tiny_model, batch_size=6)
    alone = arrays(evaluate(task, ProcessGroup()))
    place = {
        "decoding": "onelook.models.heads.Detect.decode",
        "NMS": "onelook.inference.evaluator.non_max_suppression",
        "the loss": "onelook.losses.detection_loss.DetectionLoss.__call__",
    }[what]
    module, _, name = place.rpartition(".")
    owner = pydoc.locate(module)
    whole = getattr(owner, name)
    tried: list[int] = []

    def scarce(*given: Any, **named: Any) -> Any:
        images = given[0] if isinstance(given[0], (torch.Tensor, list)) else given[1][0]
        tried.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return whole(*given, **named)

    monkeypatch.setattr(owner, name, scarce)
    found = arrays(evaluate(task, ProcessGroup()))
    assert tried == [6, 3, 2, 1, 3, 2, 1]
    compared = [key for key in alone if key != "losses" or what != "the loss"]  # the loss of parts is another mean
    assert all(np.array_equal(alone[key], found[key], equal_nan=True) for key in compared)
    assert np.allclose(alone["losses"], found["losses"], rtol=0.3)


def test_nms_of_a_batch_does_not_hold_up_the_next(
    tiny_data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(tiny_data, tiny_model, batch_size=1)
    alone = arrays(evaluate(task, ProcessGroup()))
    asked = threading.Semaphore(0)
    plain_nms, plain_batch = evaluator.non_max_suppression, ValidationDataset.batch

    def late(*given: Any, **named: Any) -> Any:
        if len(seen) < 6:  # the last batch is followed by none
            assert asked.acquire(timeout=60), "the next batch waits for NMS of this one"
        return plain_nms(*given, **named)

    def batch(dataset: ValidationDataset, numbers: Any) -> Any:
        seen.append(numbers)
        if len(seen) > 1:
            asked.release()
        return plain_batch(dataset, numbers)

    seen: list[Any] = []
    monkeypatch.setattr(evaluator, "non_max_suppression", late)
    monkeypatch.setattr(ValidationDataset, "batch", batch)
    assert differences(alone, arrays(evaluate(task, ProcessGroup()))) == []
    assert len(seen) == 6


def test_the_numbers_do_not_depend_on_the_size_of_the_batches(tiny_data: Path, tiny_model: Path) -> None:
    found = [arrays(evaluate(Task(tiny_data, tiny_model, batch_size=size), ProcessGroup())) for size in (1, 2, 6)]
    for other in found[1:]:
        for key in (key for key in other if key.startswith(("metrics/map", "scores/", "boxes/"))):
            assert np.allclose(found[0][key], other[key], rtol=1e-4, atol=1e-3, equal_nan=True), key


def test_in_bfloat16_the_head_stays_in_float32(tiny_data: Path, tiny_model: Path) -> None:
    """Logits of two digits could hardly rank detections."""
    seen: list[torch.dtype] = []
    handle = register_module_forward_hook(
        lambda module, given, result: (
            seen.append(result[0].dtype) if isinstance(module, Detect) and not result[0].is_meta else None
        )
    )
    try:
        evaluate(Task(tiny_data, tiny_model, amp=torch.bfloat16), ProcessGroup())
    finally:
        handle.remove()
    assert seen and set(seen) == {torch.float32}


def test_an_image_that_does_not_fit_alone_is_an_error(tiny_data: Path, tiny_model: Path) -> None:
    with (
        memory_for(0),
        pytest.raises(MemoryShortage, match="on one image of 128 x 128 pixels: CUDA out of memory") as caught,
    ):
        evaluate(Task(tiny_data, tiny_model), ProcessGroup())
    assert caught.value.exit_code == 71 and "--imgsz" in str(caught.value.hint)
