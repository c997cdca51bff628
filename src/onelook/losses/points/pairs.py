"""Pairs of a target and a candidate point, and the choice among them, for all targets of a batch at once.

Pairs are sorted by target, and by point within a target: "first" below always means first in this order, so that ties
are settled the same way on every device. Which pairs there are follows from the targets alone and is worked out where
they are, on the CPU. From then on no shape depends on a value: what is not real stays, and a mask says so.
Letters: L maps, M targets, n pairs, P points of an image, R ranks of a shortlist, k rows of a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

RANKS = 16
"""Number of pairs that a target chooses among: its best ones."""
ROUNDS = 5
"""Rounds in which targets without a point request one."""

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of a target and a point.

    Attributes:
        target: (n,) int64, ascending; M where a pair only fills up.
        point: (n,) int64, its number in the batch: image * P + point of the image.
        first: (M,) int64, the first pair of each target.
        counts: (M,) int64, how many pairs each target has.
        num_points: B * P, all points of the batch.
    """

    target: Tensor
    point: Tensor
    first: Tensor
    counts: Tensor
    num_points: int

    @property
    def num_targets(self) -> int:
        """M."""
        return len(self.first)

    def of_targets(self, values: Tensor) -> Tensor:
        """(n, ...) the (M, ...) `values` of the target of each pair."""
        return values[self.target.clamp(max=self.num_targets - 1)]


@dataclass(frozen=True)
class Shortlist:
    """The best pairs of each target, the best first.

    Attributes:
        pair: (M, R) int64.
        point: (M, R) int64, its number in the batch: image * P + point of the image.
        is_real: (M, R) bool, whether the target has a pair of that rank.
        targets, ranks: (M, 1) and (R,) int64, numbers of the rows and columns.
        num_points: B * P, all points of the batch.
    """

    pair: Tensor
    point: Tensor
    is_real: Tensor
    targets: Tensor
    ranks: Tensor
    num_points: int

    def lowest(self, keys: Tensor) -> Tensor:
        """(M, R) the lowest of (M, R) `keys` at each point."""
        worst = torch.inf if keys.is_floating_point() else torch.iinfo(keys.dtype).max
        nothing = torch.full((self.num_points,), worst, dtype=keys.dtype, device=keys.device)
        return nothing.scatter_reduce_(0, self.point.flatten(), keys.flatten(), "amin")[self.point]


@dataclass(frozen=True)
class Positives:
    """Which points are matched to which targets, at most one target per point; each target has k rows, real or not.

    Attributes:
        point: (M, k) int64, its number in the batch: image * P + point of the image.
        pair: (M, k) int64, index of each in the `Pairs` that they were chosen from.
        is_real: (M, k) bool.
    """

    point: Tensor
    pair: Tensor
    is_real: Tensor

    def best(self, key: Tensor) -> Tensor:
        """(M, k) bool, for each target with positives the one of the largest key; among ties, the first.

        Args:
            key: (M, k), never NaN.
        """
        key = key.masked_fill(~self.is_real, -torch.inf)
        is_largest = self.is_real & (key == key.amax(dim=1, keepdim=True))
        point = self.point.masked_fill(~is_largest, torch.iinfo(torch.int64).max)
        return is_largest & (point == point.amin(dim=1, keepdim=True))


def pairs_inside(
    regions_xyxy: Floats,
    image_index: Numbers,
    map_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
) -> tuple[Numbers, Numbers]:
    """All pairs of a target and a cell whose middle lies strictly inside the region of that target on that map.

    Args:
        regions_xyxy: (L, M, 4) corners, pixels.
        image_index: (M,).
        map_sizes: (H, W) of each map.
        strides: pixels per cell of each map.

    Returns:
        The (n,) points of the pairs and the (M,) numbers of pairs of each target.
    """
    limits = np.array([(width, height) for height, width in map_sizes], dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        cells = regions_xyxy / np.array(strides, dtype=np.float64)[:, None, None] - 0.5
        cells = np.nan_to_num(cells, nan=-1.0).transpose(1, 0, 2)  # (M, L, 4)
    first = np.clip(np.floor(cells[..., 0:2]) + 1, 0, limits).astype(np.int64)
    end = np.clip(np.ceil(cells[..., 2:4]), 0, limits).astype(np.int64)
    columns, rows = np.maximum(end - first, 0).reshape(-1, 2).T  # (M * L,)
    counts = columns * rows
    block = np.repeat(np.arange(len(counts)), counts)  # (n,) which target and map
    within = np.arange(len(block)) - (np.cumsum(counts) - counts)[block]
    row, column = np.divmod(within, columns[block])
    sizes = [height * width for height, width in map_sizes]
    offsets = np.cumsum([0, *sizes[:-1]])
    widths = limits[:, 0].astype(np.int64)
    # The first cell of each block; all others are steps from there.
    corner = image_index[:, None] * sum(sizes) + offsets + first[..., 1] * widths + first[..., 0]  # (M, L)
    point = corner.reshape(-1)[block] + row * np.tile(widths, len(image_index))[block] + column
    return point, counts.reshape(-1, len(sizes)).sum(axis=1)


def shortlist(pairs: Pairs, key: Tensor, ranks: int = RANKS) -> Shortlist:
    """The pairs of each target with the smallest keys; ties in their order.

    Args:
        key: (n,), never NaN.
        ranks: R.
    """
    by_key = torch.sort(key, stable=True).indices
    order = by_key[torch.sort(pairs.target[by_key], stable=True).indices]
    rank = torch.arange(ranks, device=key.device)
    target = torch.arange(pairs.num_targets, device=key.device)[:, None]
    pair = order[(pairs.first[:, None] + rank).clamp(max=len(order) - 1)]
    is_real = rank < pairs.counts[:, None]
    # Rows that are not real are spread: to add their zeros at one point would take long on a GPU.
    anywhere = (target * ranks + rank) % pairs.num_points
    point = torch.where(is_real, pairs.point[pair], anywhere)
    return Shortlist(pair, point, is_real, target, rank, pairs.num_points)


def settle_conflicts(candidates: Shortlist, chosen: Tensor, key: Tensor) -> Tensor:
    """`chosen` (M, R) bool, but a point that several targets chose stays with the smallest key, then the first target.

    Args:
        key: (M, R), never NaN.
    """
    contest = key.masked_fill(~chosen, torch.inf)
    winner = chosen & (contest == candidates.lowest(contest))
    target = candidates.targets
    return winner & (candidates.lowest(torch.where(winner, target, len(chosen))) == target)


def rescue_orphans(candidates: Shortlist, chosen: Tensor, *, most: int, may_take: bool) -> Tensor:
    """`chosen` (M, R) bool, with one pair more for each target that has candidates but no positive.

    One after the other, in their order, orphans get the best of their candidates that nobody owns, or, if `may_take`,
    whose owner keeps another one. A small box in a large one would learn nothing otherwise: the large one overlaps
    every prediction more.

    All ask at once, and ask again when an earlier one wants the same, until all are content: a round serves at least
    one orphan of each crowd, and all that are in nobody's way. What `ROUNDS` rounds leave stays an orphan; that takes
    more than `ROUNDS` labels on one spot.
    """
    target, ranks = candidates.targets, candidates.ranks
    nobody, no_rank = torch.full_like(target, len(chosen)), torch.full_like(ranks, len(ranks))
    counts = chosen.sum(dim=1)
    holder = candidates.lowest(torch.where(chosen, target, nobody))
    is_open = holder == len(chosen)
    if may_take:
        is_open, holder = is_open | (counts > 1)[holder % len(chosen)], torch.where(is_open, target, holder)
    is_open = is_open & candidates.is_real & (counts == 0)[:, None]
    owned, last_to_give = chosen[:, :most], (counts - 2).clamp(min=0)[:, None]

    def wanted_by(asks: Tensor) -> Tensor:
        """(M, R) the first target that requests each point, M if none does."""
        return candidates.lowest(torch.where(asks, target, nobody))

    def allowed_by(wanted: Tensor) -> Tensor:
        """(M, R) whether earlier targets leave a point: they want another, and leave its owner something."""
        allowed = is_open & (wanted >= target)
        if not may_take:
            return allowed
        takers = torch.where(owned, wanted[:, :most], nobody).sort(dim=1).values
        last = takers.gather(1, last_to_give)[:, 0]  # the one that leaves its owner with one
        return allowed & (last[holder] >= target)

    def best_of(allowed: Tensor) -> Tensor:
        """(M, R) the first that is allowed to each target."""
        first = torch.where(allowed, ranks, no_rank).amin(dim=1, keepdim=True)
        return ranks == first

    asks = best_of(is_open)
    for _round in range(ROUNDS):
        asks = best_of(allowed_by(wanted_by(asks)))
    won = asks & allowed_by(wanted_by(asks))
    return chosen & (wanted_by(won) == len(chosen)) | won


def positives_of(candidates: Shortlist, chosen: Tensor, rows: int) -> Positives:
    """The chosen pairs, at most `rows` per target; a pair beyond rank `rows` is the only one of its target.

    Args:
        chosen: (M, R) bool.
        rows: k.
    """
    first = candidates.ranks.where(chosen, chosen.shape[1] - 1).amin(dim=1, keepdim=True)
    columns = candidates.ranks[:rows].expand(len(chosen), -1)
    columns = torch.cat([torch.where(first < rows, columns[:, :1], first), columns[:, 1:]], dim=1)
    point, pair, is_real = (values.gather(1, columns) for values in (candidates.point, candidates.pair, chosen))
    return Positives(point, pair, is_real)


def on_device(device: torch.device, *arrays: npt.NDArray[Any]) -> list[Tensor]:
    """Arrays of one type on `device`, in one copy that does not wait."""
    packed = torch.from_numpy(np.concatenate([array.reshape(-1) for array in arrays]))
    moved = (packed.pin_memory() if device.type == "cuda" else packed).to(device, non_blocking=True)
    parts = torch.split(moved, [array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]
