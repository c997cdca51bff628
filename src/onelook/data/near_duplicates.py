"""Which images look alike: pairs of hashes that differ in few bits, found without comparing all with all.

Multi-index hashing: "Fast search in Hamming space with multi-index hashing" (Norouzi, Punjani, Fleet 2012), section 3.
Two hashes of 64 bits that differ in at most 7 have one of four parts of 16 bits in which they differ in at most one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from onelook.data.image_hashes import THUMBNAIL_SIDE, ImageHashes

MAX_BITS = 7
# Images of one scene pass this easily; strangers with nearly the same hash, which is rare, hardly ever do.
LEAST_CORRELATION = 0.9
# Grey levels by which no pixel of the small images may differ: where one shows an object and the other the background
# of a camera that stands still, they are two images and not one.
MOST_DIFFERENCE = 40
# Where this many images share a part of their hash, each is compared with as many neighbours only.
MAX_CROWD = 2000
NEIGHBOURS = 64

_PARTS, _PART_BITS = 4, 16
_BITS_OF = np.array([number.bit_count() for number in range(256)], np.uint8)

Pairs = npt.NDArray[np.int64]
_AS_IT_IS = np.arange(THUMBNAIL_SIDE**2)
_MIRRORED = _AS_IT_IS.reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE)[:, ::-1].reshape(-1)


def alike_pairs(hashes: ImageHashes, max_bits: int) -> Pairs:
    """Pairs of images that look alike, (P, 2) numbers, the smaller one first, sorted; flat images are in none.

    Args:
        max_bits: largest number of bits in which two hashes may differ, 0 to 7.
    """
    usable = np.flatnonzero(~hashes.is_flat)
    return _alike(hashes, usable[near_pairs(hashes.hashes[usable], max_bits)], _AS_IT_IS)


def mirrored_pairs(hashes: ImageHashes, max_bits: int) -> Pairs:
    """Pairs of images of which one looks like the other with left and right exchanged; else as `alike_pairs`."""
    usable = np.flatnonzero(~hashes.is_flat)
    count = len(usable)
    pairs = near_pairs(np.concatenate([hashes.hashes[usable], hashes.mirrored[usable]]), max_bits)
    pairs = pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)]
    pairs = usable[pairs - [0, count]]
    return _alike(hashes, pairs[pairs[:, 0] != pairs[:, 1]], _MIRRORED)


def near_pairs(hashes: npt.NDArray[np.uint64], max_bits: int) -> Pairs:
    """Pairs of hashes that differ in at most `max_bits`, (P, 2) positions, each pair once.

    All of them, unless more than 2000 hashes share one of their four parts: of such a crowd, each is compared with its
    64 neighbours in the order of the hashes, which still ties groups of many alike together.
    """
    if not 0 <= max_bits <= MAX_BITS:
        raise ValueError(f"max_bits is {max_bits}; it must be 0 to {MAX_BITS}")
    found = [np.zeros((0, 2), np.int64)]
    for part in range(_PARTS):
        keys = (hashes >> np.uint64(part * _PART_BITS)).astype(np.uint64) & np.uint64(0xFFFF)
        found += [pairs[_distance(hashes, pairs) <= max_bits] for pairs in _candidates(keys.astype(np.int64), hashes)]
    return _sorted_once(np.concatenate(found), len(hashes))


def groups_of(pairs: Pairs, count: int) -> npt.NDArray[np.int64]:
    """The group of each of `count` things, (count,): the smallest number that pairs connect it to."""
    groups = np.arange(count)
    while True:
        least = groups[pairs].min(axis=1, initial=count)
        after = groups.copy()
        for side in (0, 1):
            np.minimum.at(after, groups[pairs[:, side]], least)
        after = after[after]
        if np.array_equal(after, groups):
            return groups
        groups = after


def groups_around_leaders(groups: npt.NDArray[np.int64], pairs: Pairs) -> npt.NDArray[np.int64]:
    """Groups joined by pairs that look alike, (N,), each named by its first member, without chains.

    In a chain of images each looks like the next and the ends have nothing in common: from a camera that stands still,
    all would be one group. So a group joins another only if one of it looks like the first image of that.

    Args:
        groups: (N,) of things that stay together in any case: the number of the first member of each.
        pairs: (P, 2) numbers of those that look alike, the smaller one first.
    """
    leaders_of: dict[int, set[int]] = defaultdict(set)
    for one, other in pairs.tolist():
        for leader, follower in ((one, int(groups[other])), (other, int(groups[one]))):
            if groups[leader] == leader and leader < follower:
                leaders_of[follower].add(leader)
    joined: dict[int, int] = {}
    for group in np.unique(groups).tolist():
        joined[group] = next((leader for leader in sorted(leaders_of[group]) if joined[leader] == leader), group)
    return np.array([joined[group] for group in groups.tolist()], np.int64)


def _candidates(keys: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64]) -> Iterator[Pairs]:
    """Pairs whose keys differ in at most one bit."""
    order = np.lexsort((hashes, keys))
    ordered = keys[order]
    for flipped in (0, *(1 << bit for bit in range(_PART_BITS))):
        wanted = keys ^ flipped
        start = np.searchsorted(ordered, wanted, "left")
        counts = np.searchsorted(ordered, wanted, "right") - start
        crowded = counts > MAX_CROWD
        if flipped == 0 and crowded.any():
            yield from _neighbours(order, ordered)
        counts[crowded] = 0
        if flipped:
            counts[wanted < keys] = 0  # the same pairs from the other side
        for chunk in _chunks(counts):
            lengths = counts[chunk]
            first = np.repeat(chunk, lengths)
            within = np.arange(len(first)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            second = order[np.repeat(start[chunk], lengths) + within]
            apart = first < second if flipped == 0 else first != second
            yield np.stack([first[apart], second[apart]], axis=1)


def _sorted_once(pairs: Pairs, count: int) -> Pairs:
    """Each pair of numbers below `count` once, the smaller number first."""
    codes = np.unique(pairs.min(axis=1) * count + pairs.max(axis=1))
    return np.stack(np.divmod(codes, max(count, 1)), axis=1)


def _neighbours(order: npt.NDArray[np.int64], ordered: npt.NDArray[np.int64]) -> Iterator[Pairs]:
    for step in range(1, NEIGHBOURS + 1):
        same = ordered[step:] == ordered[:-step]
        yield np.stack([order[:-step][same], order[step:][same]], axis=1)


def _chunks(counts: npt.NDArray[np.int64], most: int = 4_000_000) -> Iterator[npt.NDArray[np.int64]]:
    """Positions with a count, in pieces whose counts add up to about `most`."""
    rows = np.flatnonzero(counts)
    if len(rows):
        piece = np.cumsum(counts[rows]) // most
        yield from np.split(rows, np.flatnonzero(np.diff(piece)) + 1)


def _distance(hashes: npt.NDArray[np.uint64], pairs: Pairs) -> npt.NDArray[np.int64]:
    differing = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
    distances: npt.NDArray[np.int64] = _BITS_OF[differing.view(np.uint8).reshape(-1, 8)].sum(axis=1, dtype=np.int64)
    return distances


def _alike(hashes: ImageHashes, pairs: Pairs, order: npt.NDArray[np.int64]) -> Pairs:
    """The pairs whose small images show the same, those of the second in this order; brightness does not count."""
    is_alike = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), 100_000):
        piece = slice(start, start + 100_000)
        one, other = (hashes.thumbnails[pairs[piece, side]].astype(np.float32) for side in (0, 1))
        other = other[:, order]
        one, other = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
        size = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
        correlation = (one * other).sum(axis=1) / np.maximum(size, 1e-6)
        difference = np.abs(one - other).max(axis=1)
        is_alike[piece] = (correlation >= LEAST_CORRELATION) & (difference <= MOST_DIFFERENCE)
    return _sorted_once(pairs[is_alike], len(hashes))
