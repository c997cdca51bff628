"""What a setting is worth: the same trainings with each of its values, mean and spread over seeds.

`python benchmarks/bench_setting.py mosaic_partners dataset batch --data bccd=bccd/data.yaml:25 --weights yolov5n.pt`
trains every dataset with every value and seed, values in turn. Rows are added to `results/settings.csv`; a run that
is there already is not done again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from record import append_rows, mean_and_spread, rows_of
from short_run import metrics_of_run

NAME = "settings"
HEADER = ("setting", "value", "start", "dataset", "seed", "epochs", "imgsz", "map50", "map50_95")


def main() -> None:
    """Train what is missing, and show the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", help="name of a setting of training")
    parser.add_argument("values", nargs="+")
    parser.add_argument("--data", nargs="+", required=True, help="NAME=YAML:EPOCHS")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--imgsz", type=int, default=320)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = {tuple(row[name] for name in HEADER[:-2]) for row in rows_of(NAME)}
    start = Path(arguments.weights).stem
    for seed in arguments.seeds:
        for dataset in arguments.data:
            name, _, place = dataset.partition("=")
            yaml, _, epochs = place.rpartition(":")
            for value in arguments.values:
                key = (arguments.setting, value, start, name, str(seed), epochs, str(arguments.imgsz))
                if key not in done:
                    given = {"weights": arguments.weights, "imgsz": arguments.imgsz, arguments.setting: value}
                    metrics = metrics_of_run(yaml, **given, epochs=int(epochs), seed=seed)
                    append_rows(NAME, HEADER, [(*key, f"{metrics.map50:.4f}", f"{metrics.map50_95:.4f}")])
    show()


def show() -> None:
    """Mean and spread by setting, dataset and value."""
    found: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for row in rows_of(NAME):
        found[row["setting"], row["start"], row["dataset"], row["imgsz"], row["value"]].append(row)
    for key, runs in sorted(found.items()):
        print(*key, mean_and_spread(runs, HEADER[-2:]))


if __name__ == "__main__":
    main()
