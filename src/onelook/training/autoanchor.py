"""Do the anchors suit the labels? If not, better ones: k-means, then evolution. Nothing here touches a model.

Letters: L output maps, A anchors per map, M labels.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onelook.errors import StopRequested
from onelook.structures.anchors import AnchorGrid
from onelook.structures.dataset_index import DatasetIndex

GOOD_RECALL = 0.98
LEAST_SIDE_PX = 2.0
SMALL_SIDE_PX = 3.0
# The search uses this many labels at most: the error of a recall measured on them is below 0.2 percentage points.
SEARCH_LABELS = 20_000
GENERATIONS = 1000
KMEANS_ROUNDS = 30
_PURPOSE = 0x616E63686F72  # "anchor": keeps this stream apart from others of the same seed
_NO_SIDE = 1e-9

Array = npt.NDArray[Any]
StopTest = Callable[[], bool]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnchorFit:
    """How well anchors suit labels, in all and map by map.

    Attributes:
        anchors_px: (L, A, 2) width, height.
        best_possible_recall: fraction of the labels that some anchor can be matched to.
        anchors_per_target: mean number of anchors that a label matches.
        mean_ratio: mean over the labels of the ratio, 0 to 1, of the worse side to the anchor that suits best.
        map_recalls: (L,) fraction of the labels that some anchor of the map can be matched to.
        map_shares: (L,) fraction of the labels whose best anchor is in the map; they add up to 1.
    """

    anchors_px: Array
    best_possible_recall: float
    anchors_per_target: float
    mean_ratio: float
    map_recalls: Array
    map_shares: Array


def label_sizes_px(index: DatasetIndex, imgsz: int) -> Array:
    """Width and height of every label, (M, 2) float64 pixels, with each image's longer side scaled to `imgsz`."""
    sizes_wh = index.sizes_hw[:, ::-1].astype(np.float64)
    scaled_wh = sizes_wh * (imgsz / sizes_wh.max(axis=1, keepdims=True, initial=1.0))
    per_label: Array = np.repeat(scaled_wh, np.diff(index.offsets), axis=0) * index.boxes[:, 2:4]
    return per_label


def fit_anchors(
    sizes_px: Array,
    anchor_grid: AnchorGrid,
    *,
    anchor_t: float,
    seed: int,
    placeholders: bool = False,
    stop_requested: StopTest | None = None,
) -> tuple[AnchorFit, AnchorFit]:
    """The model's anchors and those to use: the same if 98 % of the labels are in their reach, or none are better.

    Without labels everything is in reach.

    Args:
        sizes_px: (M, 2) width, height of the labels in pixels of the training image.
        anchor_t: largest ratio of the sides of label and anchor.
        seed: same seed, same anchors.
        placeholders: the model's anchors are placeholders, which are replaced in any case.
        stop_requested: checked during the search; True ends it.
    """
    anchors = anchor_grid.anchors.detach().float().cpu()
    own = measure_anchors(sizes_px, anchors.double().numpy(), anchor_t=anchor_t)
    num_small = int((sizes_px < SMALL_SIDE_PX).any(axis=1).sum())
    if num_small:
        logger.warning("%d of %d labels have a side below %g pixels", num_small, len(sizes_px), SMALL_SIDE_PX)
    usable = searchable(sizes_px)
    if (placeholders or own.best_possible_recall <= GOOD_RECALL) and len(usable):
        search = search_anchors(
            usable, anchors[..., 0].numel(), anchor_t=anchor_t, seed=seed, stop_requested=stop_requested
        )
        found = in_order_of_strides(search, anchor_grid.strides)
        chosen = measure_anchors(sizes_px, found.double().numpy(), anchor_t=anchor_t)
        if placeholders or chosen.best_possible_recall > own.best_possible_recall:
            return own, chosen
    return own, own


def searchable(sizes_px: Array) -> Array:
    """The labels that a search uses, (M, 2) of (N, 2): all but those with both sides below 2 px."""
    found: Array = sizes_px[(sizes_px >= LEAST_SIDE_PX).any(axis=1)]
    return found


def measure_anchors(sizes_px: Array, anchors_px: Array, *, anchor_t: float) -> AnchorFit:
    """How well anchors suit labels; without labels, all count as in reach.

    Args:
        sizes_px: (M, 2) width, height of the labels.
        anchors_px: (L, A, 2) width, height of the anchors.
        anchor_t: a label matches if neither side differs by this factor or more.
    """
    num_maps = len(anchors_px)
    if len(sizes_px) == 0:
        return AnchorFit(anchors_px, 1.0, 0.0, 0.0, np.ones(num_maps), np.zeros(num_maps))
    width, height = np.ascontiguousarray(_log(sizes_px).T)
    num_matching = np.zeros(len(sizes_px), np.int64)
    nearest = np.full((num_maps, len(sizes_px)), np.inf)
    for row, anchors in enumerate(_log(anchors_px)):
        for log_width, log_height in anchors:
            distance = np.maximum(np.abs(width - log_width), np.abs(height - log_height))
            num_matching += distance < math.log(anchor_t)
            np.minimum(nearest[row], distance, out=nearest[row])
    return AnchorFit(
        anchors_px=anchors_px,
        best_possible_recall=float((num_matching > 0).mean()),
        anchors_per_target=float(num_matching.mean()),
        mean_ratio=float(np.exp(-nearest.min(axis=0)).mean()),
        map_recalls=(nearest < math.log(anchor_t)).mean(axis=1),
        map_shares=np.bincount(nearest.argmin(axis=0), minlength=num_maps) / len(sizes_px),
    )


def search_anchors(
    sizes_px: Array, num_anchors: int, *, anchor_t: float, seed: int, stop_requested: StopTest | None = None
) -> Array:
    """Anchors that suit the labels, (num_anchors, 2) float64 pixels, smallest area first; no side below 2 px.

    Uses a keyed random choice of at most 20,000 labels.

    Args:
        sizes_px: (M, 2) width, height, M >= 1, all above 0.
        anchor_t, seed, stop_requested: see `fit_anchors`.
    """
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, _PURPOSE], np.uint64)))
    if len(sizes_px) > SEARCH_LABELS:
        sizes_px = sizes_px[rng.choice(len(sizes_px), SEARCH_LABELS, replace=False)]
    if len(np.unique(sizes_px, axis=0)) >= num_anchors:
        start = _k_means(sizes_px, num_anchors, rng)
    else:
        start = sizes_px[rng.integers(len(sizes_px), size=num_anchors)] * np.exp(rng.normal(0, 0.3, (num_anchors, 2)))
    best = _evolve(
        np.maximum(start, LEAST_SIDE_PX), sizes_px, anchor_t=anchor_t, rng=rng, stop_requested=stop_requested
    )
    return best[np.argsort(best.prod(axis=1), kind="stable")]


def in_order_of_strides(anchors_px: Array, strides: Tensor) -> Tensor:
    """Anchors sorted by area as (L, A, 2) float32: the smallest ones to the map with the smallest stride.

    Args:
        anchors_px: (L x A, 2) width, height, smallest area first.
        strides: (L,) pixels per cell.
    """
    groups = torch.from_numpy(anchors_px).float().view(len(strides), -1, 2)
    placed = torch.empty_like(groups)
    placed[strides.cpu().argsort()] = groups
    return placed


def _k_means(sizes_px: Array, num_centres: int, rng: np.random.Generator) -> Array:
    """Centres of clusters of sizes, (num_centres, 2), each axis scaled by its spread (Lloyd 1982).

    The first centres are drawn as in "k-means++: the advantages of careful seeding" (Arthur and Vassilvitskii 2007).
    """
    spread = sizes_px.std(axis=0)
    spread[spread == 0] = 1.0
    points = sizes_px / spread
    centres = points[[rng.integers(len(points))]]
    nearest_sq = ((points - centres[0]) ** 2).sum(axis=1)
    while len(centres) < num_centres:
        chosen = points[rng.choice(len(points), p=nearest_sq / nearest_sq.sum())]
        centres = np.concatenate([centres, chosen[None]])
        nearest_sq = np.minimum(nearest_sq, ((points - chosen) ** 2).sum(axis=1))
    for _ in range(KMEANS_ROUNDS):
        distance_sq = np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres])
        owner = distance_sq.argmin(axis=0)
        count = np.bincount(owner, minlength=num_centres)
        sums = np.stack([np.bincount(owner, points[:, axis], num_centres) for axis in (0, 1)], axis=1)
        centres = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], centres)
    scaled: Array = centres * spread
    return scaled


def _evolve(
    anchors_px: Array, sizes_px: Array, *, anchor_t: float, rng: np.random.Generator, stop_requested: StopTest | None
) -> Array:
    """`anchors_px` after 1000 random changes, each kept if the labels then fit better."""
    log_sizes = _log(sizes_px).astype(np.float32)
    best, best_fitness = anchors_px, _fitness(anchors_px, log_sizes, anchor_t)
    for _ in range(GENERATIONS):
        if stop_requested is not None and stop_requested():
            raise StopRequested("the search for anchors was stopped", hint="start again; nothing was written")
        candidate = np.maximum(best * _mutation(best.shape, rng), LEAST_SIDE_PX)
        fitness = _fitness(candidate, log_sizes, anchor_t)
        if fitness > best_fitness:
            best, best_fitness = candidate, fitness
    return best


def _mutation(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Factors around 1, nine in ten of them changed, all by one random strength of up to 10 %."""
    while True:
        changed = rng.random(shape) < 0.9
        factors: Array = np.clip(1 + changed * rng.random() * rng.normal(size=shape) * 0.1, 0.3, 3.0)
        if (factors != 1).any():
            return factors


def _fitness(anchors_px: Array, log_sizes: Array, anchor_t: float) -> float:
    """Mean over labels of the worse side's ratio to the best anchor, 0 for labels out of reach."""
    log_anchors = _log(anchors_px).astype(np.float32)
    distance = np.full(len(log_sizes), np.inf, np.float32)
    width, height = np.ascontiguousarray(log_sizes.T)
    for log_width, log_height in log_anchors:
        np.minimum(distance, np.maximum(np.abs(width - log_width), np.abs(height - log_height)), out=distance)
    return float(np.where(distance < math.log(anchor_t), np.exp(-distance), 0).mean(dtype=np.float64))


def _log(sizes_px: Array) -> Array:
    logs: Array = np.log(np.maximum(sizes_px, _NO_SIDE))
    return logs
