"""MOTA, IDF1 and switched ids of `--tracker bytetrack` on the generated videos of the tests, counted by py-motmetrics.

    python benchmarks/bench_tracking.py --save

A detection counts for the box that it overlaps most, with an IoU of at least 0.5, which py-motmetrics decides: it sees
boxes and ids alone, not which detection was made from which box. Boxes that no detector would find (hidden by over
70 %, and one in fifty) count as missed, so MOTA stays below 1 however good the tracker is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import motmetrics
import numpy as np
from record import append_rows

from onelook.geometry.iou import box_iou
from onelook.inference.byte_track import ByteTrack

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from moving_boxes import MovingBox, easy_scene, hard_scene, seen

NUM_FRAMES = 300
LEAST_IOU = 0.5
MEASURES = ["num_objects", "mota", "motp", "idf1", "num_switches", "num_fragmentations", "num_misses",
            "num_false_positives"]  # fmt: skip


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="append to results/tracking.csv")
    arguments = parser.parse_args()
    scenes = {"easy, 6 boxes": (easy_scene(), 0)}
    for count, seed in ((6, 1), (6, 2), (12, 3), (12, 4), (20, 5)):
        scenes[f"hard, {count} boxes, seed {seed}"] = (hard_scene(count, seed), seed)
    summary = motmetrics.metrics.create().compute_many(
        [followed(scene, seed) for scene, seed in scenes.values()], metrics=MEASURES, names=list(scenes)
    )
    print(summary.round(4).to_string())
    if arguments.save:
        rows = [
            [name, NUM_FRAMES, *(f"{value:.4g}" for value in row)]
            for name, row in zip(scenes, summary.values, strict=True)
        ]
        append_rows("tracking", ["scene", "frames", *MEASURES], rows)


def followed(scene: Sequence[MovingBox], seed: int) -> motmetrics.MOTAccumulator:
    """What the tracker makes of a video, frame by frame beside the boxes that are really there."""
    tracks, rng = ByteTrack(0.25), np.random.Generator(np.random.Philox(key=seed))
    found = motmetrics.MOTAccumulator(auto_id=True)
    for frame in range(NUM_FRAMES):
        kept = tracks.update(seen(scene, frame, rng)[0])
        distances = 1 - box_iou(np.array([box.at(frame) for box in scene]), kept.boxes)
        found.update(range(len(scene)), kept.object_ids, np.where(distances > 1 - LEAST_IOU, np.nan, distances))
    return found


if __name__ == "__main__":
    main()
