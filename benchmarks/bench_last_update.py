"""Accuracy where batches leave a few images over, by the rule of this commit and by that of another one.

    git worktree add /tmp/before COMMIT
    python benchmarks/bench_last_update.py bccd.yaml --before /tmp/before --batch-size 17 --seeds 0 1 2 --save

Before "Let a small rest of an epoch join the update before it", one image left over made an update as strong as 64.
Before "Share the images of an epoch evenly among its batches", it joined another one. Choose a batch size that leaves
one image over. Acceptance: the mean mAP of three seeds is no lower than before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from record import append_rows

HERE = Path(__file__).parents[1]
TRAIN = """
import json, sys, torch, onelook
torch.set_num_threads(int(sys.argv[2]))
result = onelook.train(**json.loads(sys.argv[1]))
print(json.dumps([result.metrics.map50, result.metrics.map50_95]))
"""


def main() -> None:
    """Train with both rules, seed by seed, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the commit to compare with")
    parser.add_argument("--weights", default="")
    parser.add_argument("--cfg", default="yolov5n")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--save", action="store_true", help="append to results/last_update.csv")
    arguments = parser.parse_args()
    rows: list[list[object]] = []
    for seed in arguments.seeds:
        for name, tree in {"before": arguments.before, "after": HERE}.items():
            map50, map50_95 = trained(tree, arguments, seed)
            print(f"seed {seed}, {name}: mAP50 {map50:.4f}, mAP50-95 {map50_95:.4f}", flush=True)
            rows.append([arguments.data.parent.name, arguments.batch_size, arguments.epochs, arguments.imgsz])
            rows[-1] += [seed, name, f"{map50:.4f}", f"{map50_95:.4f}"]
    if arguments.save:
        header = ["data", "batch_size", "epochs", "imgsz", "seed", "rule", "map50", "map50_95"]
        append_rows("last_update", header, rows)


def trained(tree: Path, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    """mAP50 and mAP50-95 of a run with the code of `tree`."""
    with TemporaryDirectory() as folder:
        settings = {
            "data": str(arguments.data.resolve()),
            "weights": arguments.weights,
            "cfg": arguments.cfg,
            "epochs": arguments.epochs,
            "batch_size": arguments.batch_size,
            "imgsz": arguments.imgsz,
            "seed": seed,
            "device": "cpu",
            "workers": 0,
            "cache": "ram",
            "noval": True,
            "noplots": True,
            "noreport": True,
            "project": folder,
        }
        command = [sys.executable, "-c", TRAIN, json.dumps(settings), str(arguments.threads)]
        environment = {**os.environ, "PYTHONPATH": str((tree / "src").resolve())}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    map50, map50_95 = json.loads(done.stdout.splitlines()[-1])
    return map50, map50_95


if __name__ == "__main__":
    main()
