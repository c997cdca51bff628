"""A copy of a dataset with planted faults in a share of its labels: moved, swapped, deleted. Lists the faults."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

KINDS = ("moved", "swapped", "deleted")
PURPOSE = 0x6661756C7473  # "faults"


@dataclass(frozen=True)
class PlantedFault:
    """What was done to one label.

    Attributes:
        image: name of its image, without suffix.
        kind: one of KINDS.
        class_id: before.
        box: cxcywh as a fraction of the image, before.
        new_class_id: after; -1 if deleted.
        new_box: after; the old one if deleted.
    """

    image: str
    kind: str
    class_id: int
    box: tuple[float, ...]
    new_class_id: int
    new_box: tuple[float, ...]


def plant_label_faults(source: Path, out: Path, *, num_classes: int, share: float, seed: int = 0) -> list[PlantedFault]:
    """Copy `source`, which holds images/, labels/ and data.yaml, to `out`, and spoil a share of all label rows.

    The three kinds take equal parts. A moved box goes half to all of its own size away in both directions, and stays
    inside the image.
    """
    shutil.copytree(source, out)
    files = sorted((out / "labels").rglob("*.txt"))
    rows = {path: [line.split() for line in path.read_text().splitlines() if line.strip()] for path in files}
    places = [(path, number) for path in files for number in range(len(rows[path]))]
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, PURPOSE], np.uint64)))
    chosen = rng.choice(len(places), round(share * len(places)), replace=False)
    faults = []
    for order, place in enumerate(chosen):
        path, number = places[place]
        fault = _fault(path, rows[path][number], KINDS[order % 3], num_classes, rng)
        rows[path][number] = [] if fault.kind == "deleted" else [str(fault.new_class_id), *map(repr, fault.new_box)]
        faults.append(fault)
    for path in files:
        path.write_text("".join(" ".join(row) + "\n" for row in rows[path] if row))
    return faults


def _fault(path: Path, row: list[str], kind: str, num_classes: int, rng: np.random.Generator) -> PlantedFault:
    class_id, box = int(row[0]), np.array(row[1:5], float)
    new_class, new_box = class_id, box.copy()
    if kind == "moved":
        for _ in range(100):
            shift = rng.uniform(0.5, 1.0, 2) * rng.choice([-1, 1], 2) * box[2:]
            new_box[:2] = np.clip(box[:2] + shift, box[2:] / 2, 1 - box[2:] / 2)
            if (np.abs(new_box[:2] - box[:2]) >= 0.3 * box[2:]).any():
                break
    elif kind == "swapped":
        new_class = int((class_id + rng.integers(1, num_classes)) % num_classes)
    else:
        new_class = -1
    return PlantedFault(f"{path.stem}", kind, class_id, tuple(box.tolist()), new_class, tuple(new_box.tolist()))
