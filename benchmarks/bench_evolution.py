"""How many epochs the pruned search trains until it has reached what the genetic search found with all of its own.

    python benchmarks/bench_evolution.py --save
    python benchmarks/bench_evolution.py --data micro --weights yolov5n.pt --trials 30 --epochs 10 --seeds 0 1 2 --save

Without --data on a made landscape: 8 hyperparameters, a known peak at a random place in the range that each can be
reached in, learning curves that rise to a height which falls off from the peak, early ones misleading by noise and by
learning rates that start fast and end low. With --data by real trainings. A target counts as reached when a complete
trial is as fit as the best of the genetic search; the trials that were pruned on the way count with their epochs. Both
searches judge a trial by its best epoch, and both set out from the same point. Acceptance: 30 % in the median.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna
from record import append_rows

from onelook.recipes.evolve import evolve
from onelook.search.folder import SearchFolder
from onelook.search.genes import GENES, Individual, in_range
from onelook.search.history import Row
from onelook.search.plan import Plan
from onelook.search.search import GeneticSearch, Search, Trial, TrialScore
from onelook.search.study import OptunaSearch
from onelook.settings.hyperparameters import Hyperparameters

NAMES = ("lr0", "momentum", "box", "cls", "obj", "hsv_s", "translate", "scale")
START = {name: value for name, value in in_range(Hyperparameters().model_dump()).items() if name in NAMES}
BACKBONE = 10  # layers that keep what they learned elsewhere: with 122 images, the quickest way to something useful
HEADER = ("case", "seed", "trials", "epochs", "start", "genetic", "genetic_epochs", "optuna", "optuna_epochs", "ratio")


def place_of(name: str, value: float) -> float:
    """Where a value lies in its range: 0 at the lower end, 1 at the upper one."""
    gene = GENES[name]
    if gene.log:
        return math.log(value / gene.low) / math.log(gene.high / gene.low)
    return (value - gene.low) / (gene.high - gene.low)


class Landscape:
    """Learning curves without learning; a function of the hyperparameters and of the seed.

    Args:
        seed: another seed, another peak.
        epochs: of a trial that runs to its end.
    """

    def __init__(self, seed: int, epochs: int) -> None:
        rng = np.random.Generator(np.random.Philox(key=[seed, 1]))
        start = np.array([place_of(name, START[name]) for name in NAMES])
        far = rng.uniform(0.1, 0.3, len(NAMES)) * rng.choice([-1, 1], len(NAMES))
        self._peak = np.where((start + far < 0) | (start + far > 1), start - far, start + far)
        self._weights = rng.uniform(1.5, 6, len(NAMES))
        self._seed, self._epochs = seed, epochs

    def __call__(self, trial: Trial) -> TrialScore:
        best = 0.0
        for epoch, fitness in enumerate(self._curve(trial.genes)):
            best = max(best, fitness)
            if trial.is_hopeless(epoch, fitness):
                return TrialScore(best, epochs=epoch + 1, state="pruned")
        return TrialScore(best, epochs=self._epochs, state="complete")

    def _curve(self, genes: Individual) -> list[float]:
        distance = np.array([place_of(name, genes[name]) for name in NAMES]) - self._peak
        loss = float((self._weights * distance**2).sum() + 2 * distance[0] * distance[1])
        speed = 2 + 4 * place_of("lr0", genes["lr0"])  # high rates are quick to begin with
        time = np.arange(1, self._epochs + 1) / self._epochs
        word = int(sum(value * 1e5 * 31**number for number, value in enumerate(genes.values()))) % 2**63
        noise = np.random.Generator(np.random.Philox(key=[self._seed, word])).normal(0, 0.005, self._epochs)
        curve = 0.7 * math.exp(-loss) * (1 - np.exp(-speed * time)) / (1 - math.exp(-speed)) + noise
        return [float(value) for value in curve.clip(0)]


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="dataset YAML; without it a made landscape")
    parser.add_argument("--weights", default="", help="checkpoint that trials start from")
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--trials", type=int, default=60, help="of the genetic search")
    parser.add_argument("--epochs", type=int, default=30, help="of a trial")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(20)))
    parser.add_argument(
        "--folder", type=Path, help="keep the trainings here; a genetic search found here is not done again"
    )
    parser.add_argument("--save", action="store_true", help="append to results/evolution.csv")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    way = in_landscape if arguments.data is None else by_training
    case = "landscape" if arguments.data is None else f"{arguments.data.resolve().parent.name} {arguments.imgsz} px"
    ratios = []
    for seed in arguments.seeds:
        genetic, pruned = way(arguments, seed)
        target, spent = max(row.fitness for row in genetic), sum(row.epochs for row in genetic)
        ratios.append(epochs_to(target, pruned) / spent)
        best = max(row.fitness for row in pruned if row.state == "complete")
        figures = (genetic[0].fitness, target, spent, best, sum(row.epochs for row in pruned), ratios[-1])
        line = (case, seed, arguments.trials, arguments.epochs, *(round(value, 4) for value in figures))
        print(", ".join(f"{name} {value}" for name, value in zip(HEADER, line, strict=True)), flush=True)
        if arguments.save:
            append_rows("evolution", HEADER, [line])
    good = sum(ratio <= 0.3 for ratio in ratios)
    print(f"{case}: median {statistics.median(ratios):.2f}, at most 0.30 in {good} of {len(ratios)}")


def epochs_to(target: float, rows: Sequence[Row]) -> float:
    """Epochs trained until a complete trial has reached `target`, that one included; infinite if none has."""
    spent = 0
    for row in rows:
        spent += row.epochs
        if row.state == "complete" and row.fitness >= target:
            return spent
    return math.inf


def in_landscape(arguments: argparse.Namespace, seed: int) -> tuple[list[Row], list[Row]]:
    """Trials of the genetic search, and of the pruned one until it is as good or has trained as long."""
    trials, epochs = arguments.trials, arguments.epochs
    plan = Plan(trials, seed, epochs, (START,))
    genetic = stepped(GeneticSearch(plan), Landscape(seed, epochs), lambda row: True)
    is_wanted = reached(genetic)
    plan = Plan(trials * epochs, seed, epochs, (START,))
    storage = optuna.storages.InMemoryStorage()
    search = OptunaSearch(plan, storage, name="landscape", folder=SearchFolder(Path("nowhere")), identity={})
    return genetic, stepped(search, Landscape(seed, epochs), is_wanted)


def by_training(arguments: argparse.Namespace, seed: int) -> tuple[list[Row], list[Row]]:
    """The same by real trainings, in a folder that is thrown away unless the user named one."""
    fixed = {"imgsz": arguments.imgsz, "workers": 0, "device": "cpu", "cache": "disk", "noplots": True, "noval": False}
    fixed |= {"optimizer": "SGD", "batch_size": 16, "freeze": [BACKBONE]}
    given = {"data": arguments.data, "weights": arguments.weights, "epochs": arguments.epochs, "seed": seed, **fixed}
    with tempfile.TemporaryDirectory() as passing:
        folder = arguments.folder or Path(passing)
        place = {"project": folder, "name": f"genetic{seed}", "exist_ok": True}
        way = {**given, **place, "evolve": arguments.trials, "evolve_method": "genetic"}
        genetic = list(evolve(way, observer=show).rows)
        is_wanted, pruned = reached(genetic), list[Row]()

        def observe(row: Row, rows: Sequence[Row]) -> None:
            pruned.append(row)
            show(row, rows)
            if not is_wanted(row):
                raise EnoughError

        place, trials = {"project": folder, "name": f"optuna{seed}"}, arguments.trials * arguments.epochs
        try:
            evolve({**given, **place, "evolve": trials, "evolve_method": "optuna"}, observer=observe)
        except EnoughError:
            return genetic, pruned
    return genetic, pruned


def show(row: Row, rows: Sequence[Row]) -> None:
    """A line per training, since they take minutes."""
    print(f"  {row.generation}: {row.fitness:.4f}, {row.epochs} epochs, {row.state}", flush=True)


class EnoughError(Exception):
    """The search has shown what it can."""


def reached(genetic: Sequence[Row]) -> Callable[[Row], bool]:
    """Whether to continue after a row of the pruned search: until it is as good or has trained as long."""
    target, left = max(row.fitness for row in genetic), sum(row.epochs for row in genetic)

    def is_wanted(row: Row) -> bool:
        nonlocal left
        left -= row.epochs
        return left > 0 and not (row.state == "complete" and row.fitness >= target)

    return is_wanted


def stepped(search: Search, landscape: Landscape, is_wanted: Callable[[Row], bool]) -> list[Row]:
    """The rows of a search, until it has all or no more are wanted."""
    rows = []
    while (row := search.step(landscape)) is not None:
        rows.append(row)
        if not is_wanted(row):
            break
    return rows


if __name__ == "__main__":
    main()
