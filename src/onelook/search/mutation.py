"""The genetic step: a parent from the best trials so far, and a child that differs from it a little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onelook.search.genes import GENES, Individual, in_range
from onelook.search.history import Row, ranked

NUM_PARENTS = 5
MUTATION_SHARE = 0.8
MUTATION_SIZE = 0.2
LEAST_FACTOR, LARGEST_FACTOR = 0.3, 3.0
LEAST_WEIGHT = 1e-6
# A factor cannot change 0. The default hyperparameters have six zeros, so about every second child changes one.
WAKING_SHARE = 0.1
_PURPOSE = 0x67656E65  # "gene": separates this stream from others of the same seed

_GAINS = np.array([gene.gain for gene in GENES.values()])
_SPANS = np.array([gene.high - gene.low for gene in GENES.values()])


def generator(seed: int, generation: int) -> np.random.Generator:
    """The random numbers of one generation, a function of both arguments alone."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, _PURPOSE << 32 | generation], np.uint64)))


def choose_parent(rows: Sequence[Row], rng: np.random.Generator) -> Individual:
    """One of the five best trials, drawn by fitness; `rows` must hold a complete one."""
    best = ranked(rows)[:NUM_PARENTS]
    fitness = np.array([row.fitness for row in best])
    weights = fitness - fitness.min() + LEAST_WEIGHT
    return best[int(rng.choice(len(best), p=weights / weights.sum()))].genes


def mutate(parent: Individual, rng: np.random.Generator) -> Individual:
    """A child: every hyperparameter with a gain is multiplied, with probability 0.8, by a factor near 1.

    The scale of the steps is drawn once per child, so that some search near and some far. A value of 0, which no factor
    changes, is raised with probability 0.1 by a step in proportion to its range. The child always differs from the
    parent.

    Args:
        parent: names from `GENES`, at least one with a gain and room in its range.
    """
    values = np.array([parent.get(name, 0.0) for name in GENES])
    while True:
        shift = _GAINS * rng.random() * MUTATION_SIZE * rng.standard_normal(len(GENES))
        factors = np.where(rng.random(len(GENES)) < MUTATION_SHARE, 1 + shift, 1.0)
        woken = np.where(rng.random(len(GENES)) < WAKING_SHARE, np.abs(shift) * _SPANS, 0.0)
        moved = np.where(values == 0, woken, values * factors.clip(LEAST_FACTOR, LARGEST_FACTOR))
        child = in_range({name: value for name, value in zip(GENES, moved.tolist(), strict=True) if name in parent})
        if child != parent:
            return child
