"""What trackers cost a training: runs with them against runs without.

    python benchmarks/bench_trackers.py --data examples/bccd/data.yaml --trackers tensorboard mlflow blocked --save

Each round trains once without and once with each tracker, in turn, with the same settings and all images drawn.
`blocked` is a tracker that never answers. Measured from the first step to the end of the last epoch:

* wall: seconds with the tracker divided by seconds without, of the same round;
* cpu: the same for the processor time of the process, which other programs disturb less;
* thread: processor seconds of the tracker's own thread, and their share of those of the run without: what it can take
  away from the training where all processors are busy;
* held: seconds for which the training itself stood still, as a share of its time.

Making the trackers (imports included) comes before the first step, waiting for them after the last; both in seconds.
Acceptance: thread and held below 1 % of a run of a minute or more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from record import append_rows

from onelook.callbacks.trackers.detached import Detached, TrackerKind
from onelook.callbacks.trackers.registry import TRACKERS
from onelook.callbacks.trackers.tracker import Tracker
from onelook.recipes.train import train
from onelook.training.callback import Callback, CheckpointWritten, EpochEnd, FitEnd, FitStart

HEADER = (
    "tracker", "wall_ratio", "cpu_ratio", "thread_s", "thread_share", "held_share", "made_s", "waited_s", "run_s",
    "data", "imgsz", "epochs", "rounds",
)  # fmt: skip
OFFLINE = {"WANDB_MODE": "offline", "CLEARML_OFFLINE_MODE": "1", "COMET_START_ONLINE": "0"}


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[1] / "examples" / "bccd" / "data.yaml")
    parser.add_argument("--trackers", nargs="+", default=["tensorboard", "mlflow", "blocked"])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="append to results/trackers.csv")
    arguments = parser.parse_args()
    os.environ.update(OFFLINE)
    names = ["none", *arguments.trackers]
    taken: dict[str, list[Cost]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds + 1):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                cost = run(name, Path(folder), arguments)
                if number:  # the first round fills caches and creates the databases
                    taken[name].append(cost)
    rows = [summary(name, taken[name], taken["none"]) for name in arguments.trackers]
    whole = statistics.median(cost.wall for cost in taken["none"])
    print(f"{whole:.1f} s without trackers")
    for name, wall, cpu, seconds, thread, held, made, waited in rows:
        print(
            f"{name:>12}: wall {wall:.4f}, cpu {cpu:.4f}, thread {seconds:.2f} s or {thread:.3%}, held {held:.3%}; "
            f"made in {made:.2f} s, waited for {waited:.2f} s"
        )
    if arguments.save:
        given = (arguments.data.parent.name, arguments.imgsz, arguments.epochs, arguments.rounds)
        append_rows(
            "trackers",
            HEADER,
            [[row[0], *(f"{value:.4f}" for value in row[1:]), f"{whole:.1f}", *given] for row in rows],
        )


@dataclass
class Cost:
    """Seconds of one run; see the top of the file."""

    wall: float = 0.0
    cpu: float = 0.0
    thread: float = 0.0
    thread_so_far: float = 0.0
    held: float = 0.0
    made: float = 0.0
    waited: float = 0.0


class Watched(Callback):
    """Trackers, and how long each of their events holds the training up."""

    def __init__(self, inner: Callback, cost: Cost) -> None:
        self._inner, self._cost = inner, cost
        self._begun = (0.0, 0.0)

    def on_fit_start(self, event: FitStart) -> None:
        self._cost.made = timed(partial(self._inner.on_fit_start, event))
        self._begun = time.perf_counter(), time.process_time()

    def on_epoch_end(self, event: EpochEnd) -> None:
        self._cost.held += timed(partial(self._inner.on_epoch_end, event))
        self._cost.wall = time.perf_counter() - self._begun[0]
        self._cost.cpu = time.process_time() - self._begun[1]
        self._cost.thread = self._cost.thread_so_far

    def on_checkpoint_written(self, event: CheckpointWritten) -> None:
        self._cost.held += timed(partial(self._inner.on_checkpoint_written, event))

    def on_fit_end(self, event: FitEnd) -> None:
        self._cost.waited = timed(partial(self._inner.on_fit_end, event))


class Metered:
    """A tracker, and the processor time of its calls."""

    def __init__(self, tracker: Tracker, cost: Cost) -> None:
        self._tracker, self._cost = tracker, cost

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._tracker, name)

        def call(*arguments: Any) -> None:
            begun = time.thread_time()
            method(*arguments)
            self._cost.thread_so_far += time.thread_time() - begun

        return call


class Blocked:
    """A tracker that never answers."""

    def start(self, *_: Any) -> None:
        threading.Event().wait()

    log_row = log_images = log_model = finish = start


def run(name: str, folder: Path, arguments: argparse.Namespace) -> Cost:
    """Train once with a tracker, or with none."""
    cost = Cost()

    def create() -> Tracker:
        return Blocked() if name == "blocked" else Metered(TRACKERS[name].create(), cost)

    kinds = {} if name == "none" else {name: TrackerKind(create, ())}
    settings = {
        "data": arguments.data, "cfg": "yolov5n", "epochs": arguments.epochs, "imgsz": arguments.imgsz,
        "batch_size": 16, "device": "cpu", "noautoanchor": True, "project": folder,
    }  # fmt: skip
    train(settings, callbacks=[Watched(Detached(kinds, finish_seconds=20), cost)])
    return cost


def summary(name: str, costs: Sequence[Cost], without: Sequence[Cost]) -> tuple[str, float, ...]:
    """Name, then medians in the order of `HEADER`."""
    pairs = list(zip(costs, without, strict=True))
    values = (
        [cost.wall / plain.wall for cost, plain in pairs],
        [cost.cpu / plain.cpu for cost, plain in pairs],
        [cost.thread for cost in costs],
        [cost.thread / plain.cpu for cost, plain in pairs],
        [cost.held / plain.wall for cost, plain in pairs],
        [cost.made for cost in costs],
        [cost.waited for cost in costs],
    )
    return name, *(statistics.median(part) for part in values)


def timed(work: Callable[[], None]) -> float:
    """Seconds that `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
