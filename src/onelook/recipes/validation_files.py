"""Files of a validation about single detections: text labels, and COCO's JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from onelook.callbacks.detection_files import label_lines
from onelook.files.atomic import write_text_atomic
from onelook.metrics.coco_json import labelling_of, to_coco_json
from onelook.runs.run_dir import RunDir
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections


def write_labels(
    index: DatasetIndex, detections: Sequence[Detections], folder: Path, *, save_conf: bool = False
) -> None:
    """Write what was found in each image to `folder`/stem.txt, a line `class x y w h` each, as datasets have them.

    Args:
        index: of the split.
        detections: one per image.
        folder: made if need be.
        save_conf: the score at the end of each line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stems = distinct([PurePath(path).stem for path in index.paths])
    for stem, found, size_hw in zip(stems, detections, index.sizes_hw.tolist(), strict=True):
        write_text_atomic(folder / f"{stem}.txt", label_lines(found, size_hw=size_hw, save_conf=save_conf))


def write_coco(index: DatasetIndex, detections: Sequence[Detections], names: Sequence[str], run: RunDir) -> None:
    """Write labels and predictions of a split in COCO's format."""
    labels = [index.image_labels(image) for image in range(len(index))]
    labelling = labelling_of(index, names)
    dataset, predictions = to_coco_json(labels, detections, num_classes=len(names), labelling=labelling)
    write_text_atomic(run.image("coco_truth.json"), json.dumps(dataset))
    write_text_atomic(run.image("coco_predictions.json"), json.dumps(predictions))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, those that come again with `_2`, `_3`, ... behind them; upper and lower case count as the same.

    >>> distinct(["a", "b", "a", "A", "a_2"])
    ['a', 'b', 'a_2', 'A_3', 'a_2_2']
    """
    taken: set[str] = set()
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        free = name
        while free.casefold() in taken:
            seen[name.casefold()] += 1
            free = f"{name}_{seen[name.casefold()] + 1}"
        taken.add(free.casefold())
        result.append(free)
    return result
