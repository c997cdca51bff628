"""The scan of many images and label files: time, memory, and the time to load its result again.

    python benchmarks/bench_scan.py --images 1000000 --save

Every image is a link to one picture of 32 x 32 pixels, so that labels, paths and bookkeeping count and not decoding;
label files are all different. The baseline reads each label file as most programs do: open, split, float, a check of
the range, a list of lists. Labels alone are read in one thread in both ways, in turns of a few thousand files.

Acceptance, for a million: peak memory below 1.5 GB.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from record import append_rows

from onelook.data.capacity import available_processors
from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.yolo import label_path_of, read_labels
from onelook.data.index import scan_split
from onelook.files.images import encode_image

PER_FOLDER = 1000
ROUND = 2000
HEADER = ("what", "images", "labels", "workers", "seconds", "images_per_s", "peak_mib")


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
        spec = DatasetSpec(root / "data.yaml", root, {"train": (root / "images",)}, tuple("abcdefgh"))
        rows = [*scans(spec, arguments.workers, Path(scratch)), *labels_alone(root, arguments.images)]
    labels = arguments.images * arguments.rows
    table = [(what, arguments.images, labels, workers, f"{s:.3f}", round(arguments.images / s), peak)
             for what, workers, s, peak in rows]  # fmt: skip
    for row in table:
        print("  ".join(str(cell) for cell in row))
    if arguments.save:
        append_rows("scan", HEADER, table)


def make_files(root: Path, count: int, rows: int) -> None:
    """`count` images and label files, a thousand to a folder."""
    rng = np.random.Generator(np.random.Philox(key=0))
    picture = root / "picture.png"
    picture.write_bytes(encode_image(rng.integers(0, 255, (32, 32, 3), np.uint8), ".png"))
    for start in range(0, count, PER_FOLDER):
        folders = [root / kind / f"{start // PER_FOLDER:04}" for kind in ("images", "labels")]
        for folder in folders:
            folder.mkdir(parents=True)
        boxes = np.concatenate(
            [rng.uniform(0.3, 0.7, (PER_FOLDER, rows, 2)), rng.uniform(0.01, 0.5, (PER_FOLDER, rows, 2))], 2
        )
        class_ids = rng.integers(0, 8, (PER_FOLDER, rows))
        for number in range(min(PER_FOLDER, count - start)):
            os.link(picture, folders[0] / f"{number:04}.png")
            lines = (
                f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n"
                for c, (x, y, w, h) in zip(class_ids[number], boxes[number], strict=True)
            )
            (folders[1] / f"{number:04}.txt").write_text("".join(lines))


def scans(spec: DatasetSpec, workers: int, cache_folder: Path) -> list[tuple[str, int, float, int]]:
    """The first scan and the second, which finds the result of the first; name, workers, seconds, peak MiB."""
    found = []
    for what in ("scan", "reload"):
        start = time.perf_counter()
        result = scan_split(spec, "train", workers=workers, cache_folder=cache_folder)
        found.append((what, workers, time.perf_counter() - start, peak_mib()))
        assert result.from_cache == (what == "reload")
    return found


def labels_alone(root: Path, count: int) -> list[tuple[str, int, float, int]]:
    """Reading the label files alone, the usual way and ours, in turns; seconds are for all files."""
    paths = [label_path_of(str(path)) for path in sorted((root / "images").rglob("*.png"))][: 20 * ROUND]
    ways: dict[str, Callable[[str], object]] = {"plain reader": read_plainly, "ours": lambda path: read_labels(path, 8)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(0, len(paths), ROUND):
        for name, read in ways.items():
            seconds[name].append(seconds_of(read, paths[start : start + ROUND]) / len(paths[start : start + ROUND]))
    return [(f"labels, {name}", 1, statistics.median(own) * count, 0) for name, own in seconds.items()]


def seconds_of(read: Callable[[str], object], paths: Sequence[str]) -> float:
    start = time.perf_counter()
    kept = [read(path) for path in paths]
    assert len(kept) == len(paths)
    return time.perf_counter() - start


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


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
