"""Seconds that the search for anchors takes on a dataset of COCO's size, and what using a part of it costs.

    python benchmarks/bench_autoanchor.py --labels 860000 --save

Ours uses 20,000 labels at most; "all labels" is the same search over every one of them. Both are judged on all
labels: fraction in reach, and mean ratio to the best anchor. Made-up sizes: log-normal, as those of images are,
and long ones, which the usual anchors reach badly. Acceptance: ours below 10 s, and within 0.2 points of all labels.
"""

from __future__ import annotations

import argparse
import time
from unittest import mock

import numpy as np
import torch
from record import append_rows

from onelook.structures.anchors import AnchorGrid
from onelook.training import autoanchor
from onelook.training.autoanchor import AnchorFit, fit_anchors, measure_anchors, search_anchors

IMGSZ = 640
P5 = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]
GRID = AnchorGrid(torch.tensor(P5, dtype=torch.float32).view(3, 3, 2), torch.tensor([8.0, 16.0, 32.0]))


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=860_000)
    parser.add_argument("--anchor-t", type=float, default=4.0)
    parser.add_argument("--save", action="store_true", help="append to results/autoanchor.csv")
    arguments = parser.parse_args()
    rows = []
    for name, sizes in cases(arguments.labels).items():
        start = time.perf_counter()
        _, ours = fit_anchors(sizes, GRID, anchor_t=arguments.anchor_t, seed=0, placeholders=True)
        ours_s = time.perf_counter() - start
        _, again = fit_anchors(sizes, GRID, anchor_t=arguments.anchor_t, seed=0, placeholders=True)
        assert np.array_equal(ours.anchors_px, again.anchors_px), "same seed, same bits"
        whole, whole_s = over_all_labels(sizes, arguments.anchor_t)
        print(f"{name:>10}: ours {ours_s:5.1f} s, {told(ours)}; all labels {whole_s:6.1f} s, {told(whole)}")
        fits = [f"{value:.4f}" for fit in (ours, whole) for value in (fit.best_possible_recall, fit.mean_ratio)]
        rows.append([name, len(sizes), arguments.anchor_t, f"{ours_s:.2f}", f"{whole_s:.2f}", *fits])
    if arguments.save:
        header = ["case", "labels", "anchor_t", "ours_s", "all_labels_s", "ours_recall", "ours_ratio",
                  "all_labels_recall", "all_labels_ratio"]  # fmt: skip
        append_rows("autoanchor", header, rows)


def cases(count: int) -> dict[str, np.ndarray]:
    """Widths and heights, (count, 2) pixels, in images of 640."""
    rng = np.random.Generator(np.random.Philox(key=1))
    side = np.exp(rng.normal(np.log(50), 1.0, count))
    ratio = np.exp(rng.normal(0, 0.5, count))
    plain = np.stack([side * np.sqrt(ratio), side / np.sqrt(ratio)], axis=1).clip(1, IMGSZ)
    width = np.exp(rng.uniform(np.log(30), np.log(600), count))
    long = np.stack([width, width / rng.uniform(6, 10, count)], axis=1)
    return {"images": plain, "long": long}


def over_all_labels(sizes: np.ndarray, anchor_t: float) -> tuple[AnchorFit, float]:
    """What the search finds if it uses every label, and the seconds that it takes."""
    with mock.patch.object(autoanchor, "SEARCH_LABELS", len(sizes)):
        start = time.perf_counter()
        found = search_anchors(sizes[(sizes >= autoanchor.LEAST_SIDE_PX).all(axis=1)], 9, anchor_t=anchor_t, seed=0)
        seconds = time.perf_counter() - start
    return measure_anchors(sizes, found.reshape(3, 3, 2), anchor_t=anchor_t), seconds


def told(fit: AnchorFit) -> str:
    return f"{100 * fit.best_possible_recall:.2f} % in reach, ratio {fit.mean_ratio:.4f}"


if __name__ == "__main__":
    main()
