"""The model of what hyperparameters are worth."""

from __future__ import annotations

import numpy as np
import pytest

from onelook.search.surrogate import Array, Surrogate, SurrogateData


def generator(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def hill(places: Array) -> Array:
    """1 at 0.7 in the first two dimensions; the others do not matter."""
    return np.asarray(1 - 2 * ((places[:, :2] - 0.7) ** 2).sum(1))


def tried(number: int, *, noise: float, key: int = 0) -> SurrogateData:
    places = generator(key).random((number, 4))
    return SurrogateData(places, hill(places) + noise * generator(key + 1).standard_normal(number), np.zeros(number))


def test_prediction_equals_the_textbook_formula() -> None:
    """Rasmussen and Williams, (2.23) and (2.24), with inverses, for each of the scales; the model's is among them."""
    evidence, points = tried(12, noise=0.1), generator(9).random((5, 4))

    def shared(one: Array, other: Array, length: float, height: float) -> Array:
        squares = ((one[:, None] - other) ** 2).sum(-1)
        return np.asarray(height**2 * np.exp(-squares / (2 * length**2)) + 1)

    means, spreads = Surrogate(evidence).predict(points)
    mean, found = evidence.worths.mean(), []
    for length in (0.25, 0.5, 1.0, 2.0):
        for height in (0.1, 0.3, 1.0):
            for noise in (0.02, 0.05, 0.1, 0.2):
                own = shared(evidence.places, evidence.places, length, height) + noise**2 * np.eye(12)
                cross, inverse = shared(points, evidence.places, length, height), np.linalg.inv(own)
                variance = height**2 + 1 - np.einsum("mn,nk,mk->m", cross, inverse, cross)
                worths = evidence.worths - mean
                likelihood = -0.5 * worths @ inverse @ worths - 0.5 * np.linalg.slogdet(own)[1]
                found.append((likelihood, mean + cross @ inverse @ worths, np.sqrt(variance)))
    _, expected_means, expected_spreads = max(found, key=lambda entry: entry[0])
    np.testing.assert_allclose(means, expected_means, atol=1e-6)
    np.testing.assert_allclose(spreads, expected_spreads, atol=1e-6)


def test_it_finds_the_hill_through_the_noise() -> None:
    points = generator(5).random((400, 4))
    errors = Surrogate(tried(80, noise=0.1)).predict(points)[0] - hill(points)
    assert np.abs(errors).mean() < 0.08 < np.abs(hill(points) - hill(points).mean()).mean()


def test_lucky_trial_is_not_mistaken_for_the_best() -> None:
    """A trial far below the peak came out at its height; its neighbours say otherwise."""
    evidence = tried(60, noise=0.05)
    low = np.array([[0.2, 0.2, 0.5, 0.5]])
    lucky = SurrogateData(np.vstack([evidence.places, low]), np.append(evidence.worths, 1.0), np.zeros(61))
    assert lucky.worths.argmax() >= 60 or lucky.worths[-1] > 0.95
    assert Surrogate(lucky).trials.argmax() != 60


def test_uncertain_trial_counts_for_less() -> None:
    places = np.array([[0.3, 0.3], [0.7, 0.7], [0.1, 0.9]])
    worths = np.array([0.0, 0.5, 0.1])
    sure, unsure = (Surrogate(SurrogateData(places, worths, np.array([0, variance, 0]))) for variance in (0.0, 1.0))
    assert sure.trials[1] - unsure.trials[1] > 0.2


def test_hopes_are_highest_between_the_best_and_the_unknown() -> None:
    """Not where trials were bad, and not where the best stands already."""
    evidence = tried(40, noise=0.02)
    points = generator(3).random((500, 4))
    chosen = points[Surrogate(evidence).expected_gains(points).argmax()]
    assert np.abs(chosen[:2] - 0.7).max() < 0.3


@pytest.mark.parametrize("awful", [-7.0, -70.0])
def test_how_awful_an_awful_trial_is_does_not_matter(awful: float) -> None:
    evidence = tried(20, noise=0.02)
    worths = evidence.worths.copy()
    worths[3] = awful
    points = generator(2).random((10, 4))
    other = worths.copy()
    other[3] = -8.0
    one, two = (Surrogate(SurrogateData(evidence.places, given, evidence.variances)) for given in (worths, other))
    np.testing.assert_array_equal(one.predict(points)[0], two.predict(points)[0])


def test_one_trial_is_enough_to_begin_with() -> None:
    model = Surrogate(SurrogateData(np.array([[0.5]]), np.array([-1.0]), np.zeros(1)))
    means, spreads = model.predict(np.array([[0.5], [0.9]]))
    assert means == pytest.approx([-1, -1]) and spreads[1] > spreads[0]
