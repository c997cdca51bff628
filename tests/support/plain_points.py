"""Points are assigned one target and one pair after the other; and assignments of fixed shape as plain lists."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onelook.losses.points.pairs import Pairs, Positives

Owned = dict[int, tuple[int, int]]  # point -> target, pair


def pairs_of(points: Sequence[Sequence[int]], num_points: int, filling: int = 0) -> Pairs:
    """One list of points for each target, and `filling` pairs that only fill up."""
    counts = torch.tensor([len(listed) for listed in points], dtype=torch.int64)
    target = torch.arange(len(points)).repeat_interleave(counts)
    point = torch.tensor([point for listed in points for point in listed], dtype=torch.int64)
    return Pairs(
        torch.cat([target, target.new_full((filling,), len(points))]),
        torch.cat([point, point.new_zeros(filling)]),
        counts.cumsum(0) - counts,
        counts,
        num_points,
    )


def owned(positives: Positives, mask: Tensor | None = None) -> dict[int, int]:
    """Point -> target of the positives, or of those in the (M, k) mask, in the order of the points."""
    rows = (positives.is_real if mask is None else mask).nonzero().tolist()
    return dict(sorted((int(positives.point[target, row]), target) for target, row in rows))


def plain_choice(
    pairs: Pairs,
    rank_key: Tensor,
    contest_key: Tensor,
    wanted: Sequence[int],
    *,
    only_best: bool = False,
) -> dict[int, int]:
    """Point -> target: the best pairs of each target, contested points settled, orphans rescued in their order.

    Args:
        rank_key: (n,) each target wants the pairs of smallest key.
        contest_key: (n,) a point goes to the smallest key.
        wanted: how many pairs each target chooses at first.
        only_best: let each target keep its best point only, and orphans take from nobody.
    """
    order = [
        sorted(range(first, first + count), key=lambda pair: (float(rank_key[pair]), pair))
        for first, count in zip(pairs.first.tolist(), pairs.counts.tolist(), strict=True)
    ]
    points = pairs.point.tolist()
    owner: Owned = {}
    for target, ranked in enumerate(order):
        for pair in ranked[: wanted[target]]:
            held = owner.get(points[pair])
            if held is None or contest_key[pair] < contest_key[held[1]]:
                owner[points[pair]] = (target, pair)
    if only_best:
        for target, ranked in enumerate(order):
            mine = [pair for pair in ranked if owner.get(points[pair]) == (target, pair)]
            for pair in mine[1:]:
                del owner[points[pair]]
    counts = [sum(target == holder for holder, _ in owner.values()) for target in range(len(order))]
    given: Owned = {}
    for target in [target for target, count in enumerate(counts) if count == 0]:
        for pair in order[target]:
            held = owner.get(points[pair])
            if points[pair] in given or (held is not None and (only_best or counts[held[0]] < 2)):
                continue
            if held is not None:
                counts[held[0]] -= 1
            given[points[pair]] = (target, pair)
            break
    return {point: target for point, (target, _pair) in sorted({**owner, **given}.items())}
