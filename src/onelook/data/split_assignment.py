"""Which part each group of images goes to: by the hash of its name, or so that all classes are divided alike.

Letters: G groups, P parts, K classes. The groups have `names`, each once, and (G,) `sizes` in images; the `fractions`
of the parts add up to 1, and another `seed` gives another split.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def positions_of(names: Sequence[str], seed: int) -> npt.NDArray[np.float64]:
    """A position from 0 to 1 for each name, (G,), which depends on the name and the seed alone."""
    digests = (hashlib.sha256(f"{seed}\0".encode() + os.fsencode(name)).digest()[:8] for name in names)
    return np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests], np.float64)


def by_hash(names: Sequence[str], fractions: Sequence[float], seed: int) -> npt.NDArray[np.int64]:
    """The part of each group, (G,), by its name and the seed alone: further groups move none.

    The parts have the sizes of `fractions` only on average.
    """
    ends = np.cumsum(fractions)
    used = np.flatnonzero(np.asarray(fractions) > 0)
    parts = np.searchsorted(ends, positions_of(names, seed), side="right")
    last = int(used[-1])  # rounding may have left the sum a little below 1
    return np.minimum(parts, last).astype(np.int64, copy=False)


def balanced(names: Sequence[str], sizes: Array, num_parts: int, seed: int) -> npt.NDArray[np.int64]:
    """The part of each group, (G,), such that the parts have as many images as groups allow.

    The largest group goes first (ties are broken by hash), each to the part with the fewest images: so two parts
    differ by at most one group, and without groups by at most one image.
    """
    parts, filled = np.zeros(len(names), np.int64), np.zeros(num_parts, np.int64)
    for group in np.lexsort((positions_of(names, seed), -np.asarray(sizes))).tolist():
        parts[group] = int(np.argmin(filled))
        filled[parts[group]] += sizes[group]
    return parts


def stratified(
    names: Sequence[str], sizes: Array, class_labels: Array, fractions: Sequence[float], seed: int
) -> npt.NDArray[np.int64]:
    """The part of each group, (G,), such that each class is divided as nearly by `fractions` as groups allow.

    Iterative stratification: "On the stratification of multi-label data" (Sechidis, Tsoumakas, Vlahavas 2011), with
    groups instead of single images and numbers of labels instead of yes and no. The rarest class goes first, and of
    a class the groups with most of it; ties are broken by their hash. Then, as long as two parts miss their sizes by
    more than a group, the fuller one gives the other the group that disturbs the classes least.
    """
    positions, parts = positions_of(names, seed), np.full(len(names), -1, np.int64)
    shares = np.asarray(fractions, np.float64)
    wanted_labels = shares[:, None] * class_labels.sum(axis=0)[None]  # (P, K)
    wanted_images = shares * np.sum(sizes)
    left = class_labels.sum(axis=0).astype(np.float64)
    while (left > 0).any():
        rarest = int(np.argmin(np.where(left > 0, left, np.inf)))
        waiting = np.flatnonzero((parts < 0) & (class_labels[:, rarest] > 0))
        order = waiting[np.lexsort((positions[waiting], -class_labels[waiting, rarest]))]
        for group in order.tolist():
            part = _neediest(wanted_labels[:, rarest], wanted_images, shares)
            parts[group] = part
            wanted_labels[part] -= class_labels[group]
            wanted_images[part] -= sizes[group]
            left -= class_labels[group]
        left[rarest] = 0
    waiting = np.flatnonzero(parts < 0)  # without a label
    for group in waiting[np.lexsort((positions[waiting], -np.asarray(sizes)[waiting]))].tolist():
        parts[group] = _neediest(wanted_images, wanted_images, shares)
        wanted_images[parts[group]] -= sizes[group]
    return _evened_out(parts, np.asarray(sizes), class_labels, shares, positions)


def _evened_out(parts: Array, sizes: Array, class_labels: Array, shares: Array, positions: Array) -> Array:
    """The parts, (G,), with sizes that miss `shares` by no more than one group."""
    parts, totals = parts.copy(), class_labels.sum(axis=0)
    weights = 1 / np.maximum(totals, 1)
    while True:
        surplus = np.bincount(parts, sizes, len(shares)) - shares * sizes.sum()
        giver = int(np.argmax(np.where(shares > 0, surplus, -np.inf)))
        taker = int(np.argmin(np.where(shares > 0, surplus, np.inf)))
        movable = np.flatnonzero((parts == giver) & (sizes < surplus[giver] - surplus[taker] - 1e-6))
        if not len(movable):
            return parts
        given, taken = (class_labels[parts == part].sum(axis=0) - shares[part] * totals for part in (giver, taker))
        moved = class_labels[movable]
        harm = ((np.abs(given - moved) + np.abs(taken + moved)) * weights).sum(axis=1)
        parts[movable[np.lexsort((positions[movable], harm))[0]]] = taker


def _neediest(wanted: Array, wanted_images: Array, shares: Array) -> int:
    """The part that lacks most; among ties the one that lacks most images, then the first."""
    usable = np.flatnonzero(shares > 0)
    best = usable[wanted[usable] >= wanted[usable].max() - 1e-9]
    return int(best[np.argmax(wanted_images[best])])
