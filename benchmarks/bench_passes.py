"""The network's passes as they are, compiled, and on a GPU recorded: time of a training step, and of a validation.

    OMP_NUM_THREADS=1 python benchmarks/bench_passes.py --model yolox-nano --rounds 7 --save

Steps are those of `Trainer.train_step`, with an update after each batch. Rounds take turns. On a CPU, processor time
counts, which other programs disturb less than the wall clock, that of the C++ compiler included. "Pays after" is how
many steps make up for the first one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from unittest.mock import Mock

import torch
from bench_training_step import endless, example_batch
from record import append_rows
from torch._inductor import config as inductor

from onelook.inference.evaluator import prepare_images
from onelook.models.detector import create_model
from onelook.processes.device import describe_device
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import TrainSettings
from onelook.training.callback import Observers
from onelook.training.captured import CudaRecorder
from onelook.training.compiled import BACKEND, compiled
from onelook.training.network_passes import ComputeOptions
from onelook.training.schedule import Schedule
from onelook.training.state import initial_state
from onelook.training.trainer import Trainer

HEADER = [
    "model", "imgsz", "batch_size", "rounds", "threads", "torch", "what", "plain_ms", "other_ms", "ratio",
    "ratio_of_fastest", "begin_s", "pays_after",
]  # fmt: skip
Work = Callable[[], object]


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true", help="append to results/passes.csv")
    arguments = parser.parse_args()
    inductor.compile_threads = 1  # else compilers run below processes of torch's own, whose time is not ours
    device = torch.device(arguments.device)
    given = {"imgsz": arguments.imgsz, "batch_size": arguments.batch_size, "cfg": arguments.model, "optimizer": "SGD"}
    settings = TrainSettings.model_validate(given)
    plain = ComputeOptions(device)
    others = {"compiled": ComputeOptions(device, backend=BACKEND)}
    if device.type == "cuda":
        others["captured"] = ComputeOptions(device, recorder=CudaRecorder())
    pairs: dict[str, tuple[Work, Work]] = {
        f"training step, {name}": (training_step(settings, plain), training_step(settings, other))
        for name, other in others.items()
    }
    pairs["validation, compiled"] = validation(settings, device)
    for what, (one, other) in pairs.items():
        one()
        seconds = timed(other, device)
        other()  # records, where that is what it does
        row = [what, *compared(one, other, arguments.rounds, device, seconds)]
        print(*row, sep=" | ", flush=True)
        common = [arguments.model, arguments.imgsz, arguments.batch_size, arguments.rounds, torch.get_num_threads()]
        if arguments.save:
            machine = describe_device(device) if device.type == "cuda" else ""
            append_rows("passes", HEADER, [[*common, torch.__version__, *row]], machine=machine)


def compared(one: Work, other: Work, rounds: int, device: torch.device, begin_seconds: float) -> list[str]:
    """Medians in ms, their ratio (median of rounds; of the fastest), seconds of the first call, steps to make up."""
    taken: list[tuple[float, float]] = []
    for number in range(rounds):
        first, second = (one, other) if number % 2 else (other, one)
        times = [timed(first, device), timed(second, device)]
        taken.append((times[0], times[1]) if number % 2 else (times[1], times[0]))
    plain, changed = (statistics.median(column) for column in zip(*taken, strict=True))
    fastest = min(b for _, b in taken) / min(a for a, _ in taken)
    ratio, saved = statistics.median(b / a for a, b in taken), plain - changed
    pays = f"{begin_seconds / saved:.0f}" if saved > 0 else "never"
    return [
        f"{1000 * plain:.1f}",
        f"{1000 * changed:.1f}",
        f"{ratio:.3f}",
        f"{fastest:.3f}",
        f"{begin_seconds:.0f}",
        pays,
    ]


def training_step(settings: TrainSettings, compute: ComputeOptions) -> Work:
    """A whole step of a run, an update included."""
    model = create_model(settings.cfg, num_classes=3).to(compute.device, memory_format=torch.channels_last).train()
    schedule = Schedule(settings, num_images=settings.batch_size * 20)
    state = initial_state(model, settings, schedule, device=compute.device, amp=compute.amp)
    state.progress.micro_batches = 1
    trainer = Trainer(
        state,
        endless(example_batch(settings)),
        schedule=schedule,
        compute=compute,
        evaluator=Mock(),
        keeper=Mock(),
        observers=Observers([]),
        stop=StopSignal(),
    )

    def step() -> None:
        state.progress.batch = 0
        trainer.train_step(next(trainer.batches))

    return step


def validation(settings: TrainSettings, device: torch.device) -> tuple[Work, Work]:
    """The forward pass of an evaluation, plain and compiled."""
    model = create_model(settings.cfg, num_classes=3).to(device, memory_format=torch.channels_last).eval()
    images = prepare_images(example_batch(settings).images, device)
    return tuple(partial(torch.inference_mode()(forward), images) for forward in (model, compiled(model)))  # type: ignore[return-value]


def timed(work: Work, device: torch.device) -> float:
    """Seconds of the processor, those of ended child processes included; of the clock on another device."""

    def clock() -> float:
        return time.process_time() + sum(os.times()[2:4]) if device.type == "cpu" else time.perf_counter()

    begun = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - begun


if __name__ == "__main__":
    main()
