"""The scan of many images and label files: time, memory, and the time to load its result again.

    python benchmarks/bench_scan.py --images 1000000 --save

Every image is a link to an image of 32 x 32 pixels, so that labels, paths and bookkeeping count and not decoding;
label files are all different. Label files alone are read in turns of many thousand: the way most programs do it (open,
split, float, a check of the range, a list of lists), by our reader in one process, and by it in all; every turn begins
with reading its files once unmeasured, so that none of the three has to wait for the disk.

Acceptance, for a million: peak memory below 1.5 GB; label files read at five times the plain reader's speed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from process_memory import MemoryWatch
from record import append_rows

from onelook.data.capacity import available_processors
from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.label_rows import LabelBatch, batch_of
from onelook.data.formats.yolo import label_path_of, read_many
from onelook.data.parallel_map import Work, in_chunks
from onelook.data.scan.index import scan_split
from onelook.files.images import encode_image

PER_FOLDER = 1000
TURN = 200_000
CLASSES = tuple("abcdefgh")
HEADER = ("what", "images", "labels", "workers", "seconds", "files_per_s", "peak_mib", "times_plain")
Row = tuple[str, int, float, int, str]


def main() -> None:
    """Make the files, measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=5, help="labels per image")
    parser.add_argument("--folder", type=Path, help="where the files are made, or are from an earlier call")
    parser.add_argument("--workers", type=int, default=available_processors())
    parser.add_argument("--save", action="store_true", help="append to results/scan.csv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        root = arguments.folder or Path(scratch)
        if not (root / "images").is_dir():
            make_files(root, arguments.images, arguments.rows)
        spec = DatasetSpec(root / "data.yaml", root, {"train": (root / "images",)}, CLASSES)
        rows = [
            *scans(spec, arguments.workers, Path(scratch)),
            *labels_alone(root, arguments.images, arguments.workers),
        ]
    labels = arguments.images * arguments.rows
    table = [
        (what, arguments.images, labels, workers, f"{s:.2f}", round(arguments.images / s), peak or "", times)
        for what, workers, s, peak, times in rows
    ]
    for row in table:
        print("  ".join(str(cell) for cell in row))
    if arguments.save:
        append_rows("scan", HEADER, table)


def make_files(root: Path, count: int, rows: int) -> None:
    """`count` images and label files, a thousand to a folder."""
    rng = np.random.Generator(np.random.Philox(key=0))
    image = encode_image(rng.integers(0, 255, (32, 32, 3), np.uint8), ".png")
    for start in range(0, count, PER_FOLDER):
        images, labels = (root / kind / f"{start // PER_FOLDER:04}" for kind in ("images", "labels"))
        for folder in (images, labels):
            folder.mkdir(parents=True)
        (images / "0000.png").write_bytes(image)
        places, sides = rng.uniform(0.3, 0.7, (PER_FOLDER, rows, 2)), rng.uniform(0.01, 0.5, (PER_FOLDER, rows, 2))
        boxes, class_ids = np.concatenate([places, sides], 2), rng.integers(0, len(CLASSES), (PER_FOLDER, rows))
        for number in range(min(PER_FOLDER, count - start)):
            if number:
                os.link(images / "0000.png", images / f"{number:04}.png")
            lines = (
                f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n"
                for c, (x, y, w, h) in zip(class_ids[number], boxes[number], strict=True)
            )
            (labels / f"{number:04}.txt").write_text("".join(lines))


def scans(spec: DatasetSpec, workers: int, cache_folder: Path) -> list[Row]:
    """The first scan and the second, which finds the result of the first; peak of all processes together, MiB."""
    found = []
    for what in ("scan", "reload"):
        start = time.perf_counter()
        with MemoryWatch() as memory:
            result = scan_split(spec, "train", work=Work(workers), cache_folder=cache_folder)
        found.append((what, workers, time.perf_counter() - start, memory.peak_mib, ""))
        assert result.from_cache == (what == "reload")
        del result
    return found


def labels_alone(root: Path, count: int, workers: int) -> list[Row]:
    """Reading the label files alone in three ways, in turns; seconds are for all, from the median of the turns."""
    paths = [label_path_of(str(path)) for path in sorted((root / "images").rglob("*.png"))]
    ways: dict[str, tuple[int, Callable[[Sequence[str]], object]]] = {
        "labels, plain reader": (1, lambda some: [read_plainly(path) for path in some]),
        "labels, ours": (1, lambda some: read_all(some, 0)),
        "labels, ours in processes": (workers, lambda some: read_all(some, workers)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(0, len(paths), TURN):
        some = paths[start : start + TURN]
        for path in some:
            Path(path).read_bytes()
        for name, (_, read) in ways.items():
            begin = time.perf_counter()
            read(some)
            seconds[name].append((time.perf_counter() - begin) / len(some))
    plain = seconds["labels, plain reader"]
    return [
        (name, ways[name][0], statistics.median(own) * count, 0,
         f"{statistics.median(one / other for one, other in zip(plain, own, strict=True)):.2f}")
        for name, own in seconds.items()
    ]  # fmt: skip


def read_all(paths: Sequence[str], workers: int) -> list[LabelBatch]:
    """The rows of all label files, as a scan reads them."""

    def read(numbers: range) -> LabelBatch:
        return batch_of(read_many(paths[numbers.start : numbers.stop], len(CLASSES)))

    return list(in_chunks(read, len(paths), Work(workers), name="reading", use_processes=True))


def read_plainly(path: str) -> list[list[float]]:
    """The rows of a label file, as most programs read it."""
    rows = []
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as most programs do
        for line in file:
            if line.strip():
                row = [float(column) for column in line.split()]
                if len(row) != 5 or not all(0 <= value <= 1 for value in row[1:]):
                    raise ValueError(f"{path}: {line}")
                rows.append(row)
    return rows


if __name__ == "__main__":
    main()
