"""Pairs of a target and a point that may answer for it, and the choice among them; all targets of a batch at once.

Pairs are sorted by target, and by point within a target: "first" below always means first in this order, so that ties
are settled the same way on every device. Letters: L maps, M targets, n pairs, P points of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """Pairs of a target and a point.

    Attributes:
        target: (n,) int64, ascending.
        place: (n,) int64, image * P + point.
        num_targets: M.
        num_places: B * P.
    """

    target: Tensor
    place: Tensor
    num_targets: int
    num_places: int

    def to(self, device: torch.device) -> Pairs:
        """The same pairs on `device`."""
        target, place = (index.to(device, non_blocking=True) for index in (self.target, self.place))
        return Pairs(target, place, self.num_targets, self.num_places)


@dataclass(frozen=True)
class Positives:
    """Which points answer for which targets, at most one target a point.

    Attributes:
        place: (n,) int64, image * P + point, ascending.
        target: (n,) int64.
        pair: (n,) int64, the place of each in the `Pairs` that they were chosen from.
    """

    place: Tensor
    target: Tensor
    pair: Tensor

    def __len__(self) -> int:
        return self.place.shape[0]

    def best(self, key: Tensor, num_targets: int) -> Positives:
        """One positive a target, that of the largest key; of equal ones the first.

        Args:
            key: (n,), never NaN.
        """
        largest = key.new_full((num_targets,), -torch.inf).scatter_reduce(0, self.target, key, "amax")
        order = torch.arange(len(self), device=key.device)
        contest = order.masked_fill(key < largest[self.target], len(self))
        first = order.new_full((num_targets,), len(self)).scatter_reduce(0, self.target, contest, "amin")
        kept = (order == first[self.target]).nonzero().flatten()
        return Positives(self.place[kept], self.target[kept], self.pair[kept])


def pairs_inside(
    regions_xyxy: Tensor,
    image_index: Tensor,
    map_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    batch: int,
) -> Pairs:
    """All pairs of a target and a cell whose middle lies strictly inside the region of that target on that map.

    Costs no wait if its tensors are on the CPU, whatever the device of the predictions.

    Args:
        regions_xyxy: (L, M, 4) corners, pixels, float64.
        image_index: (M,) int64.
        map_sizes: (H, W) of each map.
        strides: pixels per cell of each map.
        batch: images.
    """
    num_targets, device = len(image_index), image_index.device
    limits = torch.tensor([(width, height) for height, width in map_sizes], dtype=torch.float64, device=device)
    cells = regions_xyxy / torch.tensor(strides, dtype=torch.float64, device=device)[:, None, None] - 0.5
    cells = cells.nan_to_num(nan=-1.0).transpose(0, 1)  # (M, L, 4)
    first = torch.minimum((cells[..., 0:2].floor() + 1).clamp(min=0), limits).long()
    end = torch.minimum(cells[..., 2:4].ceil().clamp(min=0), limits).long()
    columns, rows = (end - first).clamp(min=0).reshape(-1, 2).unbind(dim=1)  # (M * L,)
    counts = columns * rows
    block = torch.repeat_interleave(counts)  # (n,) which target and map
    within = torch.arange(len(block), device=device) - (counts.cumsum(0) - counts)[block]
    sizes = [height * width for height, width in map_sizes]
    offsets = torch.tensor([sum(sizes[:i]) for i in range(len(sizes))], device=device)
    level = block % len(sizes)
    target = block.div(len(sizes), rounding_mode="floor")
    first = first.reshape(-1, 2)[block]
    column = first[:, 0] + within % columns[block]
    row = first[:, 1] + within.div(columns[block], rounding_mode="floor")
    place = image_index[target] * sum(sizes) + offsets[level] + row * limits[level, 0].long() + column
    return Pairs(target, place, num_targets, batch * sum(sizes))


def rank_within_target(pairs: Pairs, key: Tensor) -> Tensor:
    """(n,) int64 how many pairs of the same target come before each: those with a smaller key, or an equal one first.

    Args:
        key: (n,), never NaN.
    """
    by_key = torch.sort(key, stable=True).indices
    by_target = by_key[torch.sort(pairs.target[by_key], stable=True).indices]
    counts = torch.zeros(pairs.num_targets, dtype=torch.int64, device=key.device)
    counts.index_add_(0, pairs.target, torch.ones_like(pairs.target))
    rank = torch.empty_like(pairs.target)
    rank[by_target] = torch.arange(len(key), device=key.device) - (counts.cumsum(0) - counts)[pairs.target]
    return rank


def settle_conflicts(pairs: Pairs, chosen: Tensor, key: Tensor) -> Tensor:
    """`chosen` (n,) bool, but a place that several targets chose stays with the smallest key, then the first target."""
    infinity = torch.full((pairs.num_places,), torch.inf, dtype=key.dtype, device=key.device)
    contest = key.masked_fill(~chosen, torch.inf)
    best = infinity.scatter_reduce(0, pairs.place, contest, "amin")
    winner = chosen & (contest == best[pairs.place])
    nobody = torch.full((pairs.num_places,), pairs.num_targets, dtype=torch.int64, device=key.device)
    target = pairs.target.masked_fill(~winner, pairs.num_targets)
    owner = nobody.scatter_reduce(0, pairs.place, target, "amin")
    return winner & (owner[pairs.place] == pairs.target)


def rescue_orphans(pairs: Pairs, chosen: Tensor, key: Tensor, *, may_take: bool) -> Tensor:
    """`chosen` (n,) bool, with one pair more for each target that has candidates but no positive.

    One after the other, in their order, orphans get their candidate of smallest key that nobody owns, or, if
    `may_take`, whose owner keeps another one. A small box in a large one would learn nothing otherwise: the large one
    overlaps every prediction more.

    Costs one wait for a GPU.
    """
    has_pairs = torch.zeros(pairs.num_targets, dtype=torch.bool, device=key.device)
    has_pairs[pairs.target] = True
    has_pairs[pairs.target[chosen]] = False
    orphaned = has_pairs[pairs.target].nonzero().flatten()  # pairs of orphans
    if len(orphaned) == 0:
        return chosen
    owner = torch.full((pairs.num_places,), -1, dtype=torch.int64, device=key.device)
    taken = chosen.nonzero().flatten()
    owner[pairs.place[taken]] = taken
    counts = torch.bincount(pairs.target[taken], minlength=pairs.num_targets).tolist()
    rank = rank_within_target(pairs, key)[orphaned]
    holding = owner[pairs.place[orphaned]]
    columns = [pairs.target[orphaned], rank, orphaned, pairs.place[orphaned], holding, pairs.target[holding]]
    candidates = [_Candidate(*row) for row in torch.stack(columns, dim=1).tolist()]
    lost, won = _hand_out(sorted(candidates), counts, may_take=may_take)
    chosen = chosen.clone()
    chosen[lost] = False
    chosen[won] = True
    return chosen


class _Candidate(NamedTuple):
    """A pair of an orphan; `holding_pair` has its place now, -1 if none has; `holder` is the target of that pair."""

    target: int
    rank: int
    pair: int
    place: int
    holding_pair: int
    holder: int


def _hand_out(candidates: list[_Candidate], counts: list[int], *, may_take: bool) -> tuple[list[int], list[int]]:
    """Pairs that are no longer and pairs that are now chosen; `counts` are the positives of all targets, changed."""
    given: dict[int, int] = {}  # place -> pair
    served: set[int] = set()
    lost: list[int] = []
    for candidate in candidates:
        if candidate.target in served or candidate.place in given:
            continue
        if candidate.holding_pair >= 0:
            if not may_take or counts[candidate.holder] < 2:
                continue
            counts[candidate.holder] -= 1
            lost.append(candidate.holding_pair)
        given[candidate.place] = candidate.pair
        served.add(candidate.target)
    return lost, list(given.values())


def positives_of(pairs: Pairs, chosen: Tensor) -> Positives:
    """The chosen pairs, in the order of their places."""
    pair = chosen.nonzero().flatten()
    pair = pair[torch.argsort(pairs.place[pair])]
    return Positives(pairs.place[pair], pairs.target[pair], pair)
