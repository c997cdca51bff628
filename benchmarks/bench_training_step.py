"""The training step on this machine: our layout against the plain one, and what the loop adds to bare computation.

    python benchmarks/bench_training_step.py --rounds 7 --save

Ours: channels-last, one fused call for the update and one for the average. Plain: contiguous tensors, an update and an
average parameter by parameter. Both compute forward, loss, backward, clipping, update and average on the same batches.
The loop is `Trainer.train_step` with its schedule, events and sums; bare is forward, loss and backward alone.
Rounds take turns, so that a noisy machine is noisy for all. Acceptance: ours at least 1.1 times faster; loop below 3 %.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from unittest.mock import Mock

import numpy as np
import torch
from record import append_rows
from torch import nn
from torch.optim import SGD

from onelook.callbacks.console import ConsoleProgress
from onelook.losses.detection_loss import DetectionLoss
from onelook.models.detector import create_model
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TrainSettings
from onelook.structures.batch import Batch, ImageInfo, Targets
from onelook.training.callback import Observers
from onelook.training.ema import ModelEma
from onelook.training.network_passes import ComputeOptions
from onelook.training.optimizer import create_optimizer, parameter_groups
from onelook.training.schedule import Schedule
from onelook.training.state import Progress, TrainState
from onelook.training.trainer import Trainer

DECAY = 0.999


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4, help="steps in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true", help="append to results/training_step.csv")
    arguments = parser.parse_args()
    settings = TrainSettings(
        imgsz=arguments.imgsz, batch_size=arguments.batch_size, cfg=arguments.model, optimizer="SGD"
    )
    batch = example_batch(settings)
    device = torch.device(arguments.device)
    ways = {
        "plain": plain_step(settings, batch, device),
        "ours": loop_step(settings, batch, device),
        "bare": bare_step(settings, batch, device),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        order = list(ways)[number % 3 :] + list(ways)[: number % 3]  # nobody always comes after the same other one
        for name in order:
            seconds = timed(ways[name], arguments.steps, device)
            if number:  # the first round warms up
                taken[name].append(seconds)
    faster = statistics.median(p / o for p, o in zip(taken["plain"], taken["ours"], strict=True))
    added = statistics.median(o / b for o, b in zip(taken["ours"], taken["bare"], strict=True)) - 1
    medians = {name: 1000 * statistics.median(values) for name, values in taken.items()}
    for name, value in medians.items():
        print(f"{name:>6}: {value:8.1f} ms per step of {arguments.batch_size} images")
    best = min(taken["ours"]) / min(taken["bare"]) - 1
    print(f"ours is {faster:.3f} times faster than plain; the loop adds {100 * added:.1f} % to the bare computation")
    print(f"by the fastest round of each, which other processes disturb least: {100 * best:.1f} %")
    if arguments.save:
        save(arguments, [f"{medians[name]:.1f}" for name in ways], [f"{faster:.3f}", f"{added:.4f}", f"{best:.4f}"])


def example_batch(settings: TrainSettings) -> Batch:
    """A batch of noise with 8 boxes per image."""
    rng = np.random.default_rng(0)
    size, count = settings.imgsz, settings.batch_size
    images = torch.from_numpy(rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8))
    boxes = rng.uniform(0.1, 0.4, (count * 8, 4)) + np.array([0.2, 0.2, 0.0, 0.0])
    targets = Targets(
        image_index=torch.arange(count).repeat_interleave(8),
        class_ids=torch.from_numpy(rng.integers(0, 3, count * 8)),
        boxes=torch.from_numpy(boxes.astype(np.float32)),
    )
    return Batch(images, targets, tuple(ImageInfo(i, "", (size, size)) for i in range(count)))


def parts(settings: TrainSettings, device: torch.device) -> tuple[nn.Module, DetectionLoss]:
    """A fresh model in training mode and its loss."""
    model = create_model(settings.cfg, num_classes=3).to(device).train()
    return model, DetectionLoss(model.anchor_grid, num_classes=3, imgsz=settings.imgsz, hyperparameters=settings)


def plain_step(settings: TrainSettings, batch: Batch, device: torch.device) -> Callable[[], None]:
    """Contiguous layout; update and average parameter by parameter."""
    model, loss = parts(settings, device)
    biases, decayed, norms = parameter_groups(model)
    groups = [{"params": biases}, {"params": decayed, "weight_decay": 5e-4}, {"params": norms}]
    optimizer = SGD(groups, lr=1e-4, momentum=0.9, nesterov=True, foreach=False, fused=False)
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def step() -> None:
        images = batch.images.to(device).float() / 255
        loss(model(images), batch.targets).total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0, foreach=False)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point():
                    average[name].mul_(DECAY).add_(tensor, alpha=1 - DECAY)

    return step


def bare_step(settings: TrainSettings, batch: Batch, device: torch.device) -> Callable[[], None]:
    """Forward, loss and backward in our layout, nothing else."""
    model, loss = parts(settings, device)
    model = model.to(memory_format=torch.channels_last)

    def step() -> None:
        images = batch.images.to(device).to(torch.float32, memory_format=torch.channels_last).div_(255)
        loss(model(images), batch.targets).total.backward()
        for parameter in model.parameters():
            parameter.grad = None

    return step


def loop_step(settings: TrainSettings, batch: Batch, device: torch.device) -> Callable[[], None]:
    """`Trainer.train_step` with everything it does in a run, an update after every batch."""
    model, loss = parts(settings, device)
    model = model.to(memory_format=torch.channels_last)
    schedule = Schedule(settings, num_images=settings.batch_size * 20)
    state = TrainState(
        model=model,
        ema=ModelEma(model, total_updates=schedule.total_updates),
        optimizer=create_optimizer(model, settings, schedule.weight_decay),
        scaler=torch.amp.GradScaler(device.type, enabled=False),
        loss=loss,
        progress=Progress(micro_batches=1),
    )
    trainer = Trainer(
        state,
        endless(batch),
        schedule=schedule,
        compute=ComputeOptions(device),
        evaluator=Mock(),
        keeper=Mock(),
        observers=Observers([ConsoleProgress()]),
        stop=StopSignal(),
    )

    def step() -> None:
        trainer.train_step(next(trainer.batches))

    return step


def endless(batch: Batch) -> Iterator[Batch]:
    """The same batch for ever."""
    while True:
        yield batch


def timed(step: Callable[[], None], steps: int, device: torch.device) -> float:
    """Seconds per step, mean over `steps`."""
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / steps


def save(arguments: argparse.Namespace, medians: list[str], ratios: list[str]) -> None:
    """Append a line to the results."""
    header = ["model", "imgsz", "batch_size", "rounds", "threads", "torch", "plain_ms", "ours_ms", "bare_ms"]
    row = [arguments.model, arguments.imgsz, arguments.batch_size, arguments.rounds, torch.get_num_threads()]
    results = [torch.__version__, *medians, *ratios]
    machine = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else ""
    header += ["times_faster", "loop_adds", "loop_adds_fastest"]
    append_rows("training_step", header, [[*row, *results]], machine=machine)


if __name__ == "__main__":
    main()
