"""A model of what hyperparameters are worth, from the trials so far: a Gaussian process.

Carl E. Rasmussen and Christopher K. I. Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2 and 5.
One length for all hyperparameters: a few dozen trials cannot tell two dozen lengths apart. Length, height and noise
are those of a coarse grid under which the trials are the likeliest; noise matters most, for a model without it would
chase the luckiest trial.

Letters: N trials, M points, D hyperparameters.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LENGTHS = (0.25, 0.5, 1.0, 2.0)  # of the ways from the lower to the upper end of a range
HEIGHTS = (0.1, 0.3, 1.0)
NOISES = (0.02, 0.05, 0.1, 0.2)
# Variance of the level around the mean of the trials.
LEVEL = 1.0
# No trial counts as worse than the median by more than this factor: how bad the bad ones are does not matter.
MOST_BELOW_MEDIAN = 1.0
LEAST_VARIANCE = 1e-9


@dataclass(frozen=True)
class SurrogateData:
    """Trials that a model learns from.

    Attributes:
        places: (N, D) where their hyperparameters lie in their ranges, 0 to 1.
        worths: (N,) logarithms of fitness.
        variances: (N,) how uncertain each of these is beside the noise that all have.
    """

    places: Array
    worths: Array
    variances: Array


class Surrogate:
    """Predicts the logarithmic fitness of hyperparameters that have not been tried.

    Args:
        evidence: at least one trial.
    """

    def __init__(self, evidence: SurrogateData) -> None:
        self._places = evidence.places
        worths = np.maximum(evidence.worths, np.median(evidence.worths) - MOST_BELOW_MEDIAN)
        self._mean = worths.mean()
        squares = _squared_distances(self._places, self._places)
        fits = (
            _Fit.of(squares, worths - self._mean, evidence.variances, scales)
            for scales in itertools.product(LENGTHS, HEIGHTS, NOISES)
        )
        self._fit = max(fits, key=lambda fit: fit.log_likelihood)
        #: (N,) what the trials would be worth without noise.
        self.trials = self.predict(self._places)[0]

    def predict(self, places: Array) -> tuple[Array, Array]:
        """Mean and standard deviation, each (M,), of the logarithmic fitness at `places` (M, D), without noise."""
        length, height = self._fit.length, self._fit.height
        shared = _covariances(_squared_distances(places, self._places), length, height)  # (M, N)
        explained = np.linalg.solve(self._fit.factor, shared.T)  # (N, M)
        mean = self._mean + explained.T @ self._fit.whitened
        variance = height**2 + LEVEL - (explained**2).sum(0)
        return mean, np.sqrt(np.maximum(variance, LEAST_VARIANCE))

    def expected_gains(self, places: Array) -> Array:
        """(M,) how much the points can be hoped to be above the best trial; noise and luck apart."""
        mean, spread = self.predict(places)
        ahead = (mean - self.trials.max()) / spread
        normal = NormalDist()
        chance = np.array([normal.cdf(value) for value in ahead.tolist()])
        density = np.array([normal.pdf(value) for value in ahead.tolist()])
        return np.asarray(spread * (ahead * chance + density))


@dataclass(frozen=True)
class _Fit:
    """The trials under one set of scales.

    Attributes:
        length, height: of the covariance.
        factor: (N, N) the lower Cholesky factor of the trials' covariance, noise included.
        whitened: (N,) the trials' worths in its coordinates.
    """

    length: float
    height: float
    factor: Array
    whitened: Array

    @classmethod
    def of(cls, squares: Array, worths: Array, variances: Array, scales: tuple[float, float, float]) -> _Fit:
        length, height, noise = scales
        covariance = _covariances(squares, length, height) + np.diag(noise**2 + variances)
        factor = np.linalg.cholesky(covariance)
        return cls(length, height, factor, np.linalg.solve(factor, worths))

    @property
    def log_likelihood(self) -> float:
        """Of the trials, up to a constant."""
        return float(-0.5 * self.whitened @ self.whitened - np.log(np.diag(self.factor)).sum())


def _covariances(squares: Array, length: float, height: float) -> Array:
    return np.asarray(height**2 * np.exp(-squares / (2 * length**2)) + LEVEL)


def _squared_distances(places: Array, others: Array) -> Array:
    """(M, N) of points (M, D) and (N, D)."""
    products = places @ others.T
    return np.asarray(np.maximum((places**2).sum(1)[:, None] + (others**2).sum(1) - 2 * products, 0))
