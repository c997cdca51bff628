"""Milliseconds per image on the CPU, whole and in the network: PyTorch, ONNX Runtime and OpenVINO in turn.

    python benchmarks/bench_backends.py --weights yolov5n.pt --image hive.jpg --save

One image at a time, from its pixels to its detections, in a square frame. `pytorch, eager` is the model as it was
trained; `pytorch, best` is what `onelook detect` runs: batch-norm merged into convolutions, channels last. Every round
calls each once, in another order, so that all meet the same disturbances; medians count. Acceptance: all that is not
the network (frame, NMS, scaling back) takes at most 15 % of the whole with every one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from record import append_rows
from torch import Tensor

from onelook.exports.opening import load_runnable
from onelook.files.images import read_image
from onelook.inference.backend import Backend, TorchBackend
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.models.detector import DetectionModel
from onelook.recipes.export import export
from onelook.training.weights import load_detector

EAGER, BEST = "pytorch, eager", "pytorch, best"
LARGEST_SHARE = 15.0


class Eager(TorchBackend):
    """The model as it was trained: nothing merged, memory in the usual order."""

    def __init__(self, model: DetectionModel) -> None:
        super().__init__(model)
        self._model = model


class Timed:
    """A back end whose calls are timed."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.milliseconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def predict(self, images: Tensor) -> Tensor:
        start = time.perf_counter()
        predictions: Tensor = self._backend.predict(images)
        self.milliseconds = 1e3 * (time.perf_counter() - start)
        return predictions


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--image", type=Path, required=True, help="is repeated until it fills the frame")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", action="store_true", help="append to results/backends.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    image = square(read_image(arguments.image), arguments.imgsz)
    with TemporaryDirectory() as folder:
        given = {"weights": arguments.weights, "format": "onnx,openvino", "imgsz": arguments.imgsz, "output": folder}
        running: dict[str, Backend | DetectionModel] = {
            EAGER: Eager(load_detector(arguments.weights)),
            BEST: TorchBackend(load_detector(arguments.weights)),
            **{made.format: load_runnable(made.path, "cpu") for made in export({**given, "device": "cpu"}).exports},
        }
        taken = in_turn(running, image, arguments)
    rows = [row_of(name, taken) for name in running]
    for name, whole, network, share, times in rows:
        print(f"{name:>15}: {whole:>7} ms, network {network:>7} ms, {share:>4} % around it, {times} x {EAGER}")
    if any(float(row[3]) > LARGEST_SHARE for row in rows):
        print(f"more than {LARGEST_SHARE:g} % is spent outside the network")
    if arguments.save:
        header = ["backend", "whole_ms", "network_ms", "around_percent", "times_faster", "weights", "imgsz", "rounds"]
        tail = [arguments.weights.stem, arguments.imgsz, arguments.rounds, arguments.threads, torch.__version__]
        append_rows("backends", [*header, "threads", "torch"], ([*row, *tail] for row in rows))


def square(image: np.ndarray, side: int) -> np.ndarray:
    """`image`, repeated and cut to `side` x `side`."""
    times = [-(-side // length) for length in image.shape[:2]]
    return np.ascontiguousarray(np.tile(image, (*times, 1))[:side, :side])


def in_turn(
    running: dict[str, Any], image: np.ndarray, arguments: argparse.Namespace
) -> dict[str, tuple[list[float], list[float]]]:
    """Milliseconds of all calls, whole and in the network, by name."""
    timed = {name: Timed(backend) for name, backend in running.items()}
    settings = PredictionSettings(imgsz=arguments.imgsz)
    predictors = {name: Predictor(backend, settings) for name, backend in timed.items()}
    found = {name: len(predictor.predict([image])[0]) for name, predictor in predictors.items()}
    assert len(set(found.values())) == 1, f"they find different numbers of objects: {found}"
    print(f"{found[EAGER]} detections, {arguments.threads} threads")
    rng = np.random.Generator(np.random.Philox(key=0))
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in running}
    for _ in range(arguments.rounds):
        for name in rng.permutation(list(running)).tolist():
            start = time.perf_counter()
            predictors[name].predict([image])
            taken[name][0].append(1e3 * (time.perf_counter() - start))
            taken[name][1].append(timed[name].milliseconds)
    return taken


def row_of(name: str, taken: dict[str, tuple[list[float], list[float]]]) -> list[str]:
    """Name, milliseconds of the whole and of the network, percent around it, and how many times faster than eager."""
    whole, network = (statistics.median(values) for values in taken[name])
    around = statistics.median(1 - inside / call for call, inside in zip(*taken[name], strict=True))
    times = statistics.median(taken[EAGER][0]) / whole
    return [name, f"{whole:.1f}", f"{network:.1f}", f"{100 * around:.1f}", f"{times:.2f}"]


if __name__ == "__main__":
    main()
