"""Round numbers for the axes of a chart."""

from __future__ import annotations

import math

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def ticks(low: float, high: float, *, wanted: int = 5, only_whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`, both included where they are round; about as many as `wanted`.

    Args:
        low, high: finite, `low` below `high`.
        wanted: more than one.
        only_whole: for epochs and other counts.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(0.0, 3.0, only_whole=True)
    [0.0, 1.0, 2.0, 3.0]
    """
    step = _round_step((high - low) / wanted)
    if only_whole:
        step = max(1.0, float(math.ceil(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) + 0.0 for number in range(first, last + 1)]


def tick_text(value: float) -> str:
    """How an axis writes a number: short, without needless zeros.

    >>> [tick_text(value) for value in (0.0, 0.25, 1500.0, 25000.0, 0.00001)]
    ['0', '0.25', '1500', '25k', '1e-5']
    """
    if value == 0:
        return "0"
    if abs(value) >= 10000:
        return f"{value / 1000:.6g}k"
    if abs(value) < 0.001:
        digits, _, power = f"{value:.3e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.6g}"


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * part for part in STEPS if power * part >= step * (1 - 1e-9))
