"""CPU time of every nano, tiny and s model in ONNX Runtime and OpenVINO, against yolov5n.

    python benchmarks/bench_latency.py --save
    python benchmarks/bench_latency.py --models yolov5n onelook5n yolox-nano --rounds 10

Random weights, batch-norm merged, boxes decoded in the graph, 80 classes, one image, one thread. Of heads with two
branches, which have the same form, one is measured. Every round calls each model once, in another order, so that all
meet the same disturbances. What counts is processor time, not the clock: the shortest and the median call, as ratios
to those of yolov5n in the same run time. Asked: onelook5n at most 1.05, yolox-nano at most 0.78.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from record import append_rows

from onelook.exports.formats import EXPORTERS
from onelook.exports.metadata import Metadata
from onelook.exports.plan import ExportPlan
from onelook.exports.running import ExportedModel
from onelook.models.detector import create_model
from onelook.models.fuse import fuse

BASELINE = "yolov5n"
MODELS = (
    BASELINE, "onelook5n", "yolox-nano", "onelookx-nano", "yolox-tiny", "onelookx-tiny", "yolov5s", "onelook5s",
    "yolox-s", "onelookx-s",
)  # fmt: skip
LIMITS = {"onelook5n": 1.05, "yolox-nano": 0.78}
CPU = torch.device("cpu")


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--formats", nargs="+", default=["onnx", "openvino"])
    parser.add_argument("--save", action="store_true", help="append to results/latency.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    header = ["format", "model", "ratio_least", "ratio_median", "least_ms", "median_ms", "parameters"]
    rows: list[list[object]] = []
    for name in arguments.formats:
        with TemporaryDirectory() as folder:
            running = {
                model: exported(model, name, Path(folder), arguments.imgsz)
                for model in dict.fromkeys([BASELINE, *arguments.models])
            }
            taken = in_turn({model: export for model, (export, _) in running.items()}, arguments)
        least, median = min(taken[BASELINE]), statistics.median(taken[BASELINE])
        for model, values in taken.items():
            own = min(values), statistics.median(values)
            ratios = own[0] / least, own[1] / median
            figures = *(f"{ratio:.3f}" for ratio in ratios), *(f"{1e3 * seconds:.1f}" for seconds in own)
            rows.append([name, model, *figures, running[model][1]])
            asked = f", asked <= {LIMITS[model]}" if model in LIMITS else ""
            print(f"{name:>9} {model:>14}: {ratios[0]:.2f} / {ratios[1]:.2f} x {BASELINE}{asked}", flush=True)
    if arguments.save:
        tail = [arguments.imgsz, arguments.rounds, torch.__version__]
        append_rows("latency", [*header, "imgsz", "rounds", "torch"], ([*row, *tail] for row in rows))


def exported(model: str, name: str, folder: Path, imgsz: int) -> tuple[ExportedModel, int]:
    """A model in one of the formats, and its parameters."""
    network = fuse(create_model(model).eval())
    network.keep_branch(network.branches[0])
    metadata = Metadata(network.names, network.max_stride, frame_hw=(imgsz, imgsz), batch=1)
    path = folder / f"{model}{EXPORTERS[name].ending}"
    if EXPORTERS[name].is_folder:
        path.mkdir()
    EXPORTERS[name].write(ExportPlan(network, metadata, (imgsz, imgsz)), path)
    return EXPORTERS[name].open(path, CPU), sum(parameter.numel() for parameter in network.parameters())


def in_turn(running: dict[str, ExportedModel], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of processor time of all calls, by model."""
    rng = np.random.Generator(np.random.Philox(key=0))
    image = torch.from_numpy(rng.random((1, 3, arguments.imgsz, arguments.imgsz), dtype=np.float32))
    for model in running.values():
        model.predict(image)
    taken: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(arguments.rounds):
        for name in rng.permutation(list(running)).tolist():
            start = time.process_time()
            running[name].predict(image)
            taken[name].append(time.process_time() - start)
    return taken


if __name__ == "__main__":
    main()
