"""Mosaics per second: our renderer against the usual way, one process, one thread, rounds in turn.

    python benchmarks/bench_loader.py --images folder --image difference.png

Acceptance: at least 1.4 times as many images per second at 640 pixels.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from naive_mosaic import render_naively
from record import append_rows

from onelook.data.augment.keys import SampleKey
from onelook.data.augment.labels import labels_of_plan
from onelook.data.dataset import TrainDataset
from onelook.data.image_cache import ram_cache
from onelook.data.planned import PlannedDataset
from onelook.data.sampler import EpochItem, SampleItems
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex

Way = Callable[[list[EpochItem]], object]
SUFFIXES = {".jpg", ".jpeg", ".png"}


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of images; without it, 64 are made")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--samples", type=int, default=16, help="images per round")
    parser.add_argument("--image", type=Path, help="write both ways and their difference side by side")
    parser.add_argument("--save", action="store_true", help="append to results/loader.csv")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.images or made_images(Path(scratch))
        index = index_of(folder)
        hyp = Hyperparameters(mosaic=1.0)
        dataset = TrainDataset(index, hyp, imgsz=arguments.imgsz, seed=0)
        cached = TrainDataset(index, hyp, imgsz=arguments.imgsz, seed=0, cache=ram_cache(dataset.images))
        planned = PlannedDataset(dataset)
        ways = {
            "naive": one_by_one(lambda slot: naive_sample(dataset, slot.epoch, slot.number)),
            "ours": one_by_one(lambda slot: dataset[(slot,)]),
            "ours, in memory": one_by_one(lambda slot: cached[(slot,)]),
            "partners of the batch": lambda slots: dataset.batch(with_partners(slots)),
            "the same, in memory": lambda slots: cached.batch(with_partners(slots)),
            "plans for a device": lambda slots: planned.batch([(slot,) for slot in slots]),
            "the same, partners of the batch": lambda slots: planned.batch(with_partners(slots)),
        }
        seconds = measure(ways, len(index), rounds=arguments.rounds, samples=arguments.samples)
        rows = [
            (name, statistics.median(own), statistics.median(n / o for n, o in zip(seconds["naive"], own, strict=True)))
            for name, own in seconds.items()
        ]
        for name, median, ratio in rows:
            print(f"{name:16s} {1 / median:7.1f} images/s  {median * 1e3:6.2f} ms/image  {ratio:.2f} x")
        if arguments.image:
            print(write_image(dataset, arguments.image))
        if arguments.save:
            save(rows, label=folder.parent.parent.name if arguments.images else "made", arguments=arguments)


def naive_sample(dataset: TrainDataset, epoch: int, number: int) -> object:
    """One training image the usual way; drawing the plan and moving the labels are ours in both ways."""
    plan = dataset.plan(EpochItem(epoch, number))
    key = SampleKey(dataset.seed, epoch, number)
    image = torch.from_numpy(render_naively(plan, dataset.index, key, dataset.hyperparameters))
    return image, labels_of_plan(dataset.index, plan)


def one_by_one(sample: Callable[[EpochItem], object]) -> Way:
    """Each image by itself."""
    return lambda slots: [sample(slot) for slot in slots]


def with_partners(slots: list[EpochItem]) -> list[SampleItems]:
    """The samples of a batch whose mosaics are made of its own images."""
    numbers = tuple(slot.number for slot in slots)
    return [(slot._replace(partners=numbers),) for slot in slots]


def measure(ways: dict[str, Way], num_images: int, *, rounds: int, samples: int) -> dict[str, list[float]]:
    """Processor seconds per image of each way in each round; compare within a round, which has the same images."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        slots = [EpochItem(turn, (turn * samples + number) % num_images) for number in range(samples)]
        for name, make in ways.items():
            start = time.process_time()
            make(slots)
            if turn:  # the first round warms up
                seconds[name].append((time.process_time() - start) / samples)
    return seconds


def write_image(dataset: TrainDataset, path: Path) -> str:
    """Naive, ours, and four times their difference, side by side; what the difference is, in words."""
    rows, differences = [], []
    for number in range(2):
        naive = naive_sample(dataset, 0, number)[0].numpy().transpose(1, 2, 0)  # type: ignore[index]
        ours = dataset[(EpochItem(0, number),)].image.numpy().transpose(1, 2, 0)
        difference = np.abs(naive.astype(int) - ours)
        differences.append(difference)
        rows.append(np.hstack([naive, ours, np.clip(4 * difference, 0, 255).astype(np.uint8)]))
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])
    every = np.stack(differences)
    return (
        f"difference: mean {every.mean():.3f} of 255 levels, {np.mean(every.max(axis=-1) > 16):.4%} of the pixels "
        "above 16: rounding of two bilinear filters, and seams, where the usual way blends two tiles and we do not"
    )


def index_of(folder: Path) -> DatasetIndex:
    """The images of a folder, without labels."""
    paths = sorted(str(path) for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    sizes = np.array([cv2.imread(path).shape[:2] for path in paths], np.int32)
    no_labels = np.zeros(len(paths) + 1, np.int64)
    return DatasetIndex(
        paths=tuple(paths),
        sizes_hw=sizes,
        offsets=no_labels,
        class_ids=np.zeros(0, np.int64),
        boxes=np.zeros((0, 4), np.float32),
        polygon_offsets=np.zeros(1, np.int64),
        polygon_points=np.zeros((0, 2), np.float32),
        fingerprint="",
    )


def made_images(folder: Path) -> Path:
    """64 JPEGs of 480 x 640 with smooth noise, about as hard to decode as images."""
    rng = np.random.default_rng(0)
    for number in range(64):
        layers = [
            cv2.resize(rng.integers(0, 256, (480 >> level, 640 >> level, 3), dtype=np.uint8), (640, 480)).astype(float)
            * weight
            for level, weight in ((6, 0.6), (4, 0.25), (2, 0.1), (1, 0.05))
        ]
        cv2.imwrite(str(folder / f"{number:02d}.jpg"), np.sum(layers, axis=0).astype(np.uint8))
    return folder


def save(rows: list[tuple[str, float, float]], *, label: str, arguments: argparse.Namespace) -> None:
    """Append a row per way: what, where, how fast."""
    header = ["images", "imgsz", "way", "median_ms_per_image", "median_ratio_to_naive", "rounds", "opencv"]
    append_rows(
        "loader",
        header,
        (
            [label, arguments.imgsz, name, f"{median * 1e3:.2f}", f"{ratio:.2f}", arguments.rounds, cv2.__version__]
            for name, median, ratio in rows
        ),
    )


if __name__ == "__main__":
    main()
