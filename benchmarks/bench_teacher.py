"""What a teacher is worth: the same trainings alone and with one, equal epochs, mean and spread over seeds.

`python benchmarks/bench_teacher.py cards=cards/data.yaml:8:teacher.safetensors --cfg onelook5n --weights yolov5n.pt`
trains every dataset without its teacher and in each `--ways`, in turn. Rows are added to `results/teacher.csv`; a run
that is there already is not done again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from record import append_rows, mean_and_spread, rows_of
from short_run import metrics_of_run

NAME = "teacher"
HEADER = ("student", "teacher", "dataset", "way", "seed", "epochs", "imgsz", "map50", "map50_95")
WAYS = ("alone", "predictions", "features", "both")


def main() -> None:
    """Train what is missing, and show the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", help="NAME=YAML:EPOCHS:TEACHER")
    parser.add_argument("--weights", required=True, help="of the student")
    parser.add_argument("--cfg", default="", help="of the student; empty takes that of the weights")
    parser.add_argument("--teacher-name", default="yolox-nano", help="what the results call the teacher")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--imgsz", type=int, default=192)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = {tuple(row[name] for name in HEADER[:-2]) for row in rows_of(NAME)}
    start: dict[str, Any] = {"weights": arguments.weights, "cfg": arguments.cfg, "imgsz": arguments.imgsz}
    student = arguments.cfg or Path(arguments.weights).stem
    for seed in arguments.seeds:
        for dataset in arguments.datasets:
            name, _, place = dataset.partition("=")
            yaml, epochs, teacher = place.split(":")
            for way in arguments.ways:
                key = (student, arguments.teacher_name, name, way, str(seed), epochs, str(arguments.imgsz))
                if key not in done:
                    taught = {} if way == "alone" else {"teacher": teacher, "teach": way}
                    given = {**start, "epochs": int(epochs), "seed": seed, "cache": "ram", **taught}
                    metrics = metrics_of_run(yaml, **given)
                    append_rows(NAME, HEADER, [(*key, f"{metrics.map50:.4f}", f"{metrics.map50_95:.4f}")])
    show()


def show() -> None:
    """Mean and spread by student, dataset and way."""
    found: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for row in rows_of(NAME):
        found[row["student"], row["dataset"], row["imgsz"], row["way"]].append(row)
    for key, runs in sorted(found.items()):
        print(*key, mean_and_spread(runs, HEADER[-2:]))


if __name__ == "__main__":
    main()
