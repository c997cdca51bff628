"""How many of the first 100 suspicions are true, with 5 % of the labels spoilt and a detector trained on them.

    python benchmarks/bench_suspicions.py --data ../shared/data/bccd --weights yolov5n.pt --save

A copy of the dataset gets labels that are moved, swapped or deleted, in equal parts; a detector is trained on it, and
`onelook check --weights` ranks what it contradicts. A suspicion is true if it names a spoilt label, or the place of one
that was moved or deleted. Mistakes that the dataset had before count as false. `--trained FILE` skips the training.
Acceptance: 80 of the first 100.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from label_faults import PlantedFault, plant_label_faults
from record import append_rows

from onelook.data.dataset_spec import load_dataset_spec
from onelook.doctor.suspicions import Suspicion
from onelook.recipes.check import CheckResult, check
from onelook.recipes.train import train

Box = Sequence[float]


def main() -> None:
    """Plant, train, check, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, labels/ and data.yaml")
    parser.add_argument("--weights", default="", help="checkpoint to start from")
    parser.add_argument("--trained", type=Path, help="detector that was trained on this very copy")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--save", action="store_true", help="append to results/suspicions.csv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        names = load_dataset_spec(arguments.data / "data.yaml").names
        faults = plant_label_faults(arguments.data, copy, num_classes=len(names), share=arguments.share)
        trained = arguments.trained or train(
            {"data": copy / "data.yaml", "weights": arguments.weights, "epochs": arguments.epochs,
             "imgsz": arguments.imgsz, "project": folder, "noplots": True}
        ).best  # fmt: skip
        result = check(
            {
                "data": copy / "data.yaml",
                "weights": str(trained),
                "imgsz": arguments.imgsz,
                "suspicions": 1000,
                "near": -1,
            }
        )
        hits = [is_true(suspicion, result, by_image(faults)) for suspicion in result.suspicions]
    row = [arguments.data.name, arguments.share, len(faults), arguments.epochs, arguments.imgsz]
    counts = [sum(hits[:first]) for first in (50, 100, len(faults))]
    first = f"{counts[0]} of the first 50, {counts[1]} of 100, {counts[2]} of {len(faults)}"
    print(f"{len(faults)} labels spoilt; true: {first}")
    if arguments.save:
        header = ["data", "share", "spoilt", "epochs", "imgsz", "true_of_50", "true_of_100", "true_of_spoilt"]
        append_rows("suspicions", header, [[*row, *counts]])


def by_image(faults: Sequence[PlantedFault]) -> dict[str, list[PlantedFault]]:
    """The faults of each image, by its name without suffix."""
    found: dict[str, list[PlantedFault]] = defaultdict(list)
    for fault in faults:
        found[fault.image].append(fault)
    return found


def is_true(suspicion: Suspicion, result: CheckResult, faults: Mapping[str, Sequence[PlantedFault]]) -> bool:
    """Whether a suspicion names a spoilt label, or the place of one that is not there any more."""
    index = result.scans[suspicion.split].index
    height, width = index.sizes_hw[suspicion.image].tolist()
    scale = np.array([width, height, width, height])
    for fault in faults.get(Path(index.paths[suspicion.image]).stem, ()):
        before, after = (corners(box) * scale for box in (fault.box, fault.new_box))
        if suspicion.labelled_box is not None and fault.kind != "deleted" and iou(suspicion.labelled_box, after) > 0.95:
            return True
        is_missing = suspicion.labelled_box is None and suspicion.seen_box is not None and fault.kind != "swapped"
        if is_missing and iou(suspicion.seen_box or (), before) > 0.5:
            return True
    return False


def corners(box: Box) -> np.ndarray:
    x, y, width, height = box
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def iou(one: Box, other: Box) -> float:
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (sum(areas) - width * height)


if __name__ == "__main__":
    main()
