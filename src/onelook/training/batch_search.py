"""The search for the largest batch: which sizes are tried, and what follows from them. It knows no model and no device.

Growing batches are surveyed, one after the other in one process, until a line through the last two says that the
answer is near. Then the candidate is rehearsed in a fresh process, as the beginning of a run, and put right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from onelook.training.batch_trial import Growth
from onelook.training.trial_process import REHEARSAL, SURVEY, Measure

NEAR = 4
"""The survey ends when it forecasts that batches so many times as large do not fit."""
MOST_REHEARSALS = 4
EXTRAPOLATED = 1.25
"""The answer is at most so many times what was rehearsed."""
BACK_OFF = 0.75


@dataclass(frozen=True)
class SizeTrial:
    """One batch size that was tried.

    Attributes:
        batch_size: images in one process.
        growth: bytes that it took, by kind; None if that was too much.
        kind: "survey" or "rehearsal".
    """

    batch_size: int
    growth: Growth | None
    kind: str


@dataclass(frozen=True)
class Outcome:
    """What a search ends with.

    Attributes:
        batch_size: images in one process.
        growth: what they are expected to take; None if nothing could be measured.
    """

    batch_size: int
    growth: Growth | None


class Fits(Protocol):
    """Whether a run with batches of a size, of which a trial takes `growth`, stays within the memory."""

    def __call__(self, batch_size: int, growth: Growth, /) -> bool: ...


@dataclass(frozen=True)
class MemoryLine:
    """Growth that rises steadily with the batch.

    Attributes:
        batch_size, growth: a point on it.
        per_image: what one image more takes, by kind.
    """

    batch_size: int
    growth: Growth
    per_image: dict[str, float]

    @classmethod
    def through(cls, batch_size: int, growth: Growth, others: Sequence[Outcome]) -> MemoryLine:
        """Through a measurement and the last of `others` with another batch size; if there is none, through 0."""
        distance, start = batch_size, dict.fromkeys(growth, 0)
        for other in others:
            if other.batch_size != batch_size and other.growth is not None:
                distance, start = batch_size - other.batch_size, other.growth
        return cls(batch_size, growth, {kind: max((growth[kind] - start[kind]) / distance, 0.0) for kind in growth})

    def at(self, batch_size: int) -> Growth:
        """What batches of so many images take."""
        further = batch_size - self.batch_size
        return {kind: round(value + further * self.per_image[kind]) for kind, value in self.growth.items()}


class SizeSearch:
    """Finds the largest number of images in one process.

    Args:
        fits: the forecast.
        process: gives a new process for trials.
        unit: the number is a multiple of this.
        most: and not above this, unless that is below a unit.

    Attributes:
        trials: so far.
    """

    def __init__(
        self, fits: Fits, process: Callable[[], AbstractContextManager[Measure]], *, unit: int, most: int
    ) -> None:
        self.trials: list[SizeTrial] = []
        self._fits = fits
        self._process = process
        self._unit = unit
        self._most = max(most // unit, 1) * unit

    def run(self) -> Outcome:
        """The number of images; a unit, if not even that fits."""
        surveyed = self._survey()
        if not surveyed:
            return Outcome(self._unit, None)
        last = surveyed[-1]
        assert last.growth is not None
        line = MemoryLine.through(last.batch_size, last.growth, surveyed[-2:])
        if last.batch_size == self._most and self._fits(2 * self._most, line.at(2 * self._most)):
            return last
        candidate, accepted, further = self._largest(line), last, EXTRAPOLATED
        for _ in range(MOST_REHEARSALS):
            with self._process() as measure:
                growth = self._try(measure, REHEARSAL, candidate)
            if growth is None:
                if candidate == self._unit:
                    return Outcome(self._unit, None)
                self._most, further = candidate - self._unit, 1.0  # the forecast is wrong: not beyond what was seen
                candidate = self._rounded(candidate * BACK_OFF)
                continue
            line = MemoryLine.through(candidate, growth, surveyed[:2])
            best = self._largest(line)
            within = min(best, self._rounded(candidate * further))
            accepted = Outcome(within, line.at(within))
            if best == within or further == 1:
                break
            candidate = best
        return accepted

    def _survey(self) -> list[Outcome]:
        """Sizes 1, 2, 4 and so on, until one fails, all images are in a batch, or the answer is near."""
        rows: list[Outcome] = []
        batch_size = self._unit
        with self._process() as measure:
            while True:
                growth = self._try(measure, SURVEY, batch_size)
                if growth is None:
                    self._most = max(batch_size - self._unit, self._unit)
                    return rows
                rows.append(Outcome(batch_size, growth))
                if batch_size == self._most or (len(rows) > 1 and self._is_near(rows)):
                    return rows
                batch_size = min(2 * batch_size, self._most)

    def _is_near(self, rows: Sequence[Outcome]) -> bool:
        last = rows[-1]
        assert last.growth is not None
        further = NEAR * last.batch_size
        return not self._fits(further, MemoryLine.through(last.batch_size, last.growth, rows[-2:]).at(further))

    def _try(self, measure: Measure, kind: str, batch_size: int) -> Growth | None:
        growth = measure(kind, batch_size)
        self.trials.append(SizeTrial(batch_size, growth, kind))
        return growth

    def _largest(self, line: MemoryLine) -> int:
        """The largest number that fits if growth follows the line; a unit, if none does."""
        low, high = 1, self._most // self._unit
        while low < high:
            middle = (low + high + 1) // 2
            if self._fits(middle * self._unit, line.at(middle * self._unit)):
                low = middle
            else:
                high = middle - 1
        return low * self._unit

    def _rounded(self, batch_size: float) -> int:
        return max(int(batch_size) // self._unit, 1) * self._unit
