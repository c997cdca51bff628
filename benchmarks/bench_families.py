"""What the families of detectors learn on small datasets: mean and spread over seeds, equal epochs and images.

`python benchmarks/bench_families.py bccd=bccd/data.yaml:25 cards=cards/data.yaml:20 --start yolox-nano=yolox_nano.pth`
trains each start on each dataset with the defaults. A start without weights begins from scratch; one whose file is not
named like its model takes over what fits of another model's weights. Rows are added to `results/families.csv`; a run
that is there already is not done again, and one that was interrupted is resumed from its folder in `--project` (its
seconds stay empty). The columns `many_...` and `one_...` are the branches with and without NMS in the best epoch, empty
for a head with one branch.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from record import append_rows, mean_and_spread, rows_of
from short_run import QUIET

import onelook
from onelook.recipes.train_result import TrainResult
from onelook.runs.own_checkpoints import has_checkpoint
from onelook.runs.run_dir import RunDir

NAME = "families"
HEADER = (
    "start",
    "dataset",
    "seed",
    "epochs",
    "imgsz",
    "map50",
    "map50_95",
    "many_map50_95",
    "one_map50_95",
    "seconds",
)
Run = tuple[str, str, str, str, str]


def main() -> None:
    """Train what is missing, and show the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="+", help="NAME=YAML:EPOCHS")
    parser.add_argument("--start", nargs="+", required=True, help="MODEL, or MODEL=WEIGHTS")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--project", type=Path, default=Path("runs/families"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    done = {tuple(row[name] for name in HEADER[:5]) for row in rows_of(NAME)}
    for seed in arguments.seeds:
        for dataset in arguments.datasets:
            for start in arguments.start:
                train_once(dataset, start, seed, arguments, done)
    show()


def train_once(dataset: str, start: str, seed: int, arguments: argparse.Namespace, done: set[tuple[str, ...]]) -> None:
    """One run, unless it has been done."""
    name, _, place = dataset.partition("=")
    yaml, _, epochs = place.rpartition(":")
    model, _, weights = start.partition("=")
    label = model if weights else f"{model} from scratch"
    key: Run = (label, name, str(seed), epochs, str(arguments.imgsz))
    if key in done:
        return
    run = RunDir(arguments.project / "-".join(key).replace(" ", "-"))
    is_resumed = has_checkpoint(run)
    begun = time.perf_counter()
    if is_resumed:
        result = onelook.train(resume=str(run.path))
    else:
        is_own = Path(weights).stem.replace("_", "-") == model
        begin: dict[str, Any] = {"weights": weights, "cfg": "" if is_own else model}
        result = onelook.train(
            yaml,
            **begin,
            epochs=int(epochs),
            imgsz=arguments.imgsz,
            seed=seed,
            **QUIET,
            project=run.path.parent,
            name=run.path.name,
            exist_ok=True,
        )
    seconds = "" if is_resumed else round(time.perf_counter() - begun)
    metrics = result.metrics
    figures = (f"{metrics.map50:.4f}", f"{metrics.map50_95:.4f}", *branches(result))
    append_rows(NAME, HEADER, [(*key, *figures, seconds)])


def branches(result: TrainResult) -> list[str]:
    """mAP50-95 of the branches with and without NMS in the best epoch; empty for a head with one branch."""
    with (result.run_folder / "results.csv").open(newline="", encoding="utf-8") as file:
        best = list(csv.DictReader(file))[result.outcome.best_epoch]
    found = (best.get(f"metrics/{branch}_mAP_0.5:0.95") for branch in ("many", "one"))
    return ["" if value is None else f"{float(value):.4f}" for value in found]


def show() -> None:
    """Mean and spread by dataset and start."""
    found: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows_of(NAME):
        found[row["dataset"], f"{row['start']}, {row['epochs']} epochs"].append(row)
    for (dataset, start), runs in sorted(found.items()):
        print(f"{dataset:<8}{start:<36}{mean_and_spread(runs, HEADER[5:9])}")


if __name__ == "__main__":
    main()
