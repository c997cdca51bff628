"""What has to be seen on a GPU, within minutes: correctness, accuracy, resume, speed, memory; one CSV row a figure.

    python benchmarks/gpu_check.py --data bccd/data.yaml --device 0 --minutes 8 --save

Parts that the device or the time does not allow are rows too, with the reason. Runs to its end with `--device cpu`.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from record import append_rows
from torch.profiler import ProfilerActivity, profile

from onelook.data.augment.render_gpu import render
from onelook.data.device_renderer import device_renderer
from onelook.data.planned import PlannedBatch, PlannedDataset
from onelook.errors import OnelookError, StopRequested
from onelook.processes.device import describe_device, select_device
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.preparation import prepare
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.training.callback import Callback, StepEnd
from onelook.training.loading import training_batches, training_set
from onelook.training.state import Progress

HEADER = ["part", "what", "value", "unit", "torch"]
WARM_UP = 5
SOURCES: dict[str, dict[str, Any]] = {
    "files": {"cache": "none"},
    "ram": {"cache": "ram"},
    "files, rendered on the device": {"renderer": "device", "cache": "none"},
    "gpu, rendered on the device": {"renderer": "device", "cache": "gpu"},
}
PASSES = ("capture", "compile")  # to be compared with the last of these sources
Figures = list[tuple[str, float, str]]


def main() -> None:
    """Run all parts, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="0")
    parser.add_argument("--minutes", type=float, default=8.0, help="no part begins after that")
    parser.add_argument("--models", nargs="+", default=["yolov5n", "yolov5s"])
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=10, help="of the runs whose accuracy is compared")
    parser.add_argument("--steps", type=int, default=50, help="whose time is taken")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--save", action="store_true", help="append to results/gpu_check.csv")
    arguments = parser.parse_args()
    device, end = select_device(arguments.device), time.monotonic() + 60 * arguments.minutes
    print(f"{describe_device(device)}, torch {torch.__version__}", flush=True)
    for part, measure in parts(arguments, device).items():
        figures: Figures = [("left out: no time", 0.0, "")]
        if time.monotonic() < end:
            try:
                figures = measure()
            except OnelookError as problem:
                figures = [(f"failed: {problem.message}", 0.0, "")]
        rows = [[part, what, f"{value:.4g}", unit, torch.__version__] for what, value, unit in figures]
        for row in rows:
            print(" | ".join(row), flush=True)
        if arguments.save:
            append_rows("gpu_check", HEADER, rows, machine=describe_device(device))


def parts(arguments: argparse.Namespace, device: torch.device) -> dict[str, Callable[[], Figures]]:
    """What is measured, in the order of importance."""
    check, is_gpu = Check(arguments), device.type == "cuda"
    found: dict[str, Callable[[], Figures]] = {"tests marked gpu": gpu_tests if is_gpu else not_here}
    for amp in ("off", "bf16", "fp16"):
        found[f"accuracy, amp {amp}"] = (lambda amp=amp: check.accuracy(amp)) if is_gpu or amp == "off" else not_here
    found["resume"] = check.resume
    for model in arguments.models:
        for name, source in SOURCES.items():
            found[f"{model}, {name}"] = lambda model=model, source=source: check.speed(model, source, device)
        for name in PASSES:
            given = {**SOURCES["gpu, rendered on the device"], name: True}
            measure = lambda model=model, given=given: check.speed(model, given, device)  # noqa: E731
            found[f"{model}, {name}"] = measure if is_gpu or name != "capture" else not_here
    for name in ("files", "files, rendered on the device"):
        found[f"loader alone, {name}"] = lambda name=name: check.loader(SOURCES[name])
    found["renderer alone"] = lambda: check.renderers(device)
    found["busy"] = check.busy if is_gpu else not_here
    found["memory"] = (lambda: check.memory(device)) if is_gpu else not_here
    return found


def not_here() -> Figures:
    """For parts that need a GPU."""
    return [("left out: needs a GPU", 0.0, "")]


def gpu_tests() -> Figures:
    """Exit code of the tests that need a GPU."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    return [("exit code", float(subprocess.run(command, cwd=root, check=False).returncode), "")]


class StopAfter(Callback):
    """Takes the time of some steps, waiting for the device before and after, and ends the run."""

    def __init__(self, steps: int, profiler: Any = None) -> None:
        self.last = WARM_UP + steps
        self.images = 0
        self.seconds = 0.0
        self.profiler = profiler

    def on_step_end(self, event: StepEnd) -> None:
        if WARM_UP < event.step <= self.last:
            self.images += event.num_images
        if event.step in (WARM_UP, self.last):
            event.mean_losses.cpu()  # waits
            self.seconds = time.perf_counter() - self.seconds
        if event.step == WARM_UP and self.profiler is not None:
            self.profiler.start()
        if event.step == self.last:
            if self.profiler is not None:
                self.profiler.stop()
            signal.raise_signal(signal.SIGTERM)


class Check:
    """The parts that train.

    Args:
        arguments: of the command.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments

    def settings(self, folder: str, **given: Any) -> dict[str, Any]:
        """Those of a run below `folder`."""
        one = self.arguments
        common = {"data": one.data, "device": one.device, "imgsz": one.imgsz, "workers": one.workers}
        quiet = {"noplots": True, "noreport": True, "noautoanchor": True, "project": Path(folder)}
        return {**common, **quiet, "cfg": one.models[0], "batch_size": one.batch_size, **given}

    def accuracy(self, amp: str) -> Figures:
        """Of a short run; to be compared with that of the CPU and of other precisions."""
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            result = train(self.settings(folder, amp=amp, epochs=self.arguments.epochs))
        return [
            ("map50", result.metrics.map50, ""),
            ("map50_95", result.metrics.map50_95, ""),
            ("duration", time.perf_counter() - begun, "s"),
        ]

    def resume(self) -> Figures:
        """Largest difference of a weight between a run that was stopped and resumed, and one that was not."""
        with tempfile.TemporaryDirectory() as folder:
            given = self.settings(folder, epochs=2)
            whole = train(given).last
            try:
                train(given, callbacks=[StopAfter(1)])
            except StopRequested:
                resumed = train({"resume": str(Path(folder) / "exp2")}).last
            else:
                return [("left out: the dataset has too few batches", 0.0, "")]
            one, two = (load_checkpoint(path).tensors for path in (whole, resumed))
            most = max(
                float((one[name].double() - two[name].double()).abs().max()) for name in one if one[name].numel()
            )
        return [("largest difference of a weight", most, "")]

    def speed(self, model: str, source: dict[str, Any], device: torch.device) -> Figures:
        """Training images per second after a warm-up."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        meter = self._run_for(self.arguments.steps, cfg=model, **source)
        figures: Figures = [("training", meter.images / meter.seconds, "images/s")]
        if device.type == "cuda":
            figures.append(("peak", torch.cuda.max_memory_allocated(device) / 2**20, "MiB"))
        return figures

    def loader(self, source: dict[str, Any]) -> Figures:
        """Images per second that arrive, without training."""
        with tempfile.TemporaryDirectory() as folder:
            given = self.settings(folder, epochs=1000, **source)
            data, model, run = prepare(given, None, StopSignal(), ProcessGroup(), resumed=None)
            with closing(training_batches(data, model, run, Progress())) as batches:
                for _ in range(WARM_UP):
                    next(batches)
                begun = time.perf_counter()
                count = sum(len(next(batches).infos) for _ in range(self.arguments.steps))
        return [("loading", count / (time.perf_counter() - begun), "images/s")]

    def renderers(self, device: torch.device) -> Figures:
        """Images per second of a batch that is there: by the operations of torch, and by the kernel if it is used."""
        with tempfile.TemporaryDirectory() as folder:
            given = self.settings(folder, renderer="device")
            data, model, run = prepare(given, None, StopSignal(), ProcessGroup(), resumed=None)
            dataset, order = training_set(data, model.model, run, Progress())
            planned = PlannedDataset(dataset).batch(next(iter(order)))
        assert isinstance(planned, PlannedBatch)
        drawing, pixels = planned.drawing.map(lambda one: one.to(device)), planned.pixels.to(device)
        figures: Figures = []
        chosen = device_renderer(device, is_first=True)
        for name, draw in {"torch": render, "kernel": chosen}.items():
            if name == "kernel" and chosen is render:
                figures.append(("kernel: not used", 0.0, ""))
                break
            draw(drawing, pixels)[0, 0, 0, 0].item()  # waits
            begun = time.perf_counter()
            for _ in range(self.arguments.steps):
                images = draw(drawing, pixels)
            images[0, 0, 0, 0].item()
            count = self.arguments.steps * len(images)
            figures.append((name, count / (time.perf_counter() - begun), "images/s"))
        return figures

    def busy(self) -> Figures:
        """Share of the time in which a kernel runs."""
        profiler = profile(activities=[ProfilerActivity.CUDA])
        meter = self._run_for(20, profiler=profiler, renderer="device")
        busy = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6
        return [("busy", busy / meter.seconds, "share")]

    def memory(self, device: torch.device) -> Figures:
        """The largest batch that is found, through 200 steps of changing size, and how full the memory gets."""
        torch.cuda.reset_peak_memory_stats(device)
        meter = self._run_for(200, batch_size=-1, multi_scale=True)
        peak, total = torch.cuda.max_memory_reserved(device), torch.cuda.get_device_properties(device).total_memory
        return [("images per batch", meter.images / 200, ""), ("peak", peak / total, "share of the memory")]

    def _run_for(self, steps: int, *, profiler: Any = None, **given: Any) -> StopAfter:
        meter = StopAfter(steps, profiler)
        with tempfile.TemporaryDirectory() as folder:
            try:
                train(self.settings(folder, epochs=1000, noval=True, **given), callbacks=[meter])
            except StopRequested:
                return meter
        raise OnelookError("the run has ended before its time was taken")


if __name__ == "__main__":
    main()
