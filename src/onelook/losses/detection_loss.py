"""The training loss of an anchor-based detector: box, objectness and class terms over all output maps.

Letters: B images, L maps, S shifts, A anchors, H, W cells, K classes, M targets, R = S A M candidates of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from onelook.geometry.iou import ciou
from onelook.losses.assignment import Candidates, find_candidates
from onelook.losses.protocol import FamilyLoss, LossTerms
from onelook.losses.readout import OBJECTNESS, read_maps, row_strides, with_whole_rows
from onelook.losses.terms import class_targets, cross_entropy, decode_matches, objectness_targets
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.anchors import AnchorGrid
from onelook.structures.batch import Targets

THREE_MAPS_BALANCE = (4.0, 1.0, 0.4)
OTHER_BALANCE = (4.0, 1.0, 0.25, 0.06, 0.02)
BALANCE_STRIDE = 16
BALANCE_DECAY = 0.9999
# Below this a map's objectness term no longer raises its balance.
_LEAST_OBJECTNESS = 1e-6


@dataclass(frozen=True)
class BalancedTargets:
    """The targets of a batch, padded, and the (L,) weights of the maps in the objectness term."""

    targets: Targets
    balance: Tensor


class DetectionLoss(FamilyLoss):
    """Computes the loss from L raw maps (B, A, H, W, 5 + K) of logits, finest first, in float32 even under autocast.

    Values and gradients are finite for every finite input (logits up to 1e30). Same inputs, same threads: same bits.

    Args:
        anchor_grid: L maps with A anchors each.
        num_classes: K; with one class there is no class term.
        imgsz: side of the training images, pixels; scales the objectness term.
        hyperparameters: box, obj, cls, obj_pw, cls_pw, fl_gamma, label_smoothing and anchor_t are used.
        auto_balance: let the weights of the maps in the objectness term follow their losses; evaluation (no gradients
            enabled) never moves them.
        keep_duplicates: see `find_candidates`.
    """

    columns: tuple[str, ...] = ("box", "obj", "cls")

    def __init__(
        self,
        anchor_grid: AnchorGrid,
        *,
        num_classes: int,
        imgsz: int,
        hyperparameters: Hyperparameters,
        auto_balance: bool = False,
        keep_duplicates: bool = False,
    ) -> None:
        num_maps = len(anchor_grid.strides)
        share = 3 / num_maps
        self.anchor_grid = AnchorGrid(anchor_grid.anchors.float().cpu(), anchor_grid.strides.float().cpu())
        self.num_classes = num_classes
        self.hyperparameters = hyperparameters
        self.is_moving = auto_balance
        self.keep_duplicates = keep_duplicates
        self.box_gain = hyperparameters.box * share
        self.obj_gain = hyperparameters.obj * share * (imgsz / 640) ** 2
        self.cls_gain = hyperparameters.cls * share * num_classes / 80
        others = (*OTHER_BALANCE, *[OTHER_BALANCE[-1]] * num_maps)[:num_maps]
        self.balance = torch.tensor(THREE_MAPS_BALANCE if num_maps == 3 else others)
        self._reference_map = int((anchor_grid.strides - BALANCE_STRIDE).abs().argmin())

    def prepare(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float) -> BalancedTargets:
        """See `FamilyLoss`; also moves what the loss needs to the device of the maps."""
        device = raw_maps[0].device
        with torch.inference_mode(False):  # else an evaluation that comes first would spoil it for training
            self.balance = self.balance.to(device)
            self.anchor_grid = AnchorGrid(self.anchor_grid.anchors.to(device), self.anchor_grid.strides.to(device))
        return BalancedTargets(targets.padded().to(device), self.balance)

    def terms(self, raw_maps: Sequence[Tensor], prepared: BalancedTargets) -> LossTerms:
        """See `FamilyLoss`."""
        with torch.autocast(raw_maps[0].device.type, enabled=False):
            raw_maps = [with_whole_rows(raw_map) for raw_map in raw_maps]
            candidates = find_candidates(
                prepared.targets,
                self.anchor_grid,
                [(raw_map.shape[2], raw_map.shape[3]) for raw_map in raw_maps],
                anchor_t=self.hyperparameters.anchor_t,
                keep_duplicates=self.keep_duplicates,
            )
            box_by_map, obj_by_map, cls_by_map = self._by_map(raw_maps, candidates)
            terms = torch.stack(
                [
                    box_by_map.sum() * self.box_gain,
                    (obj_by_map * prepared.balance).sum() * self.obj_gain,
                    cls_by_map.sum() * self.cls_gain,
                ]
            )
            if self.is_moving and torch.is_grad_enabled():
                self._update_balance(obj_by_map.detach())
            return LossTerms(terms.sum() * raw_maps[0].shape[0], terms.detach())

    def _by_map(self, raw_maps: Sequence[Tensor], candidates: Candidates) -> tuple[Tensor, Tensor, Tensor]:
        """Unweighted box, objectness and class term of every map, (L,) each: means over the matches, or the cells."""
        num_maps, num_cells = len(raw_maps), [raw_map.numel() // raw_map.shape[4] for raw_map in raw_maps]
        device = raw_maps[0].device
        strides, first_cells = _strides_and_first_cells(
            tuple(tuple(row_strides(m)) for m in raw_maps), tuple(num_cells), device
        )
        positions = candidates.positions(strides).view(num_maps, -1)  # (L, R)
        objectness_logits, rows = read_maps(raw_maps, positions)
        rows = rows.view(*candidates.is_match.shape, -1)  # (L, S, A, M, 5 + K)
        box_logits, _, class_logits = torch.split(rows, [OBJECTNESS, 1, rows.shape[-1] - OBJECTNESS - 1], dim=-1)

        is_match = candidates.is_match.float()
        num_matches = is_match.sum(dim=(1, 2, 3)).clamp(min=1)
        quality = ciou(decode_matches(box_logits, candidates.anchors), candidates.boxes) * is_match
        box_term = (is_match - quality).sum(dim=(1, 2, 3)) / num_matches
        objectness = objectness_targets(
            quality.detach().view(-1), (positions + first_cells).view(-1), num_cells=sum(num_cells)
        )
        entropy = self._cross_entropy(objectness_logits, objectness, self.hyperparameters.obj_pw)
        objectness_term = torch.stack([cells.mean() for cells in torch.split(entropy, num_cells)])
        if self.num_classes == 1:
            return box_term, objectness_term, torch.zeros_like(box_term)
        wanted = class_targets(
            candidates.class_ids, self.num_classes, label_smoothing=self.hyperparameters.label_smoothing
        )
        entropy = self._cross_entropy(class_logits, wanted.expand_as(class_logits), self.hyperparameters.cls_pw)
        class_term = (entropy.sum(dim=-1) * is_match).sum(dim=(1, 2, 3)) / (num_matches * self.num_classes)
        return box_term, objectness_term, class_term

    def _cross_entropy(self, logits: Tensor, targets: Tensor, positive_weight: float) -> Tensor:
        gamma = self.hyperparameters.fl_gamma
        return cross_entropy(logits, targets, positive_weight=positive_weight, focal_gamma=gamma)

    def _update_balance(self, objectness_by_map: Tensor) -> None:
        """Move the weights so that every map's weighted objectness term comes out alike, very slowly."""
        target = 1 / objectness_by_map.clamp(min=_LEAST_OBJECTNESS)
        moved = BALANCE_DECAY * self.balance + (1 - BALANCE_DECAY) * target
        moved = moved / moved[self._reference_map]
        self.balance = torch.where(moved.isfinite().all(), moved, self.balance)


@cache
def _strides_and_first_cells(
    strides: tuple[tuple[int, ...], ...], num_cells: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """(L, 4) strides and (L, 1) first cell of every map, in cells; kept on the device, see `assignment`."""
    first = [sum(num_cells[:number]) for number in range(len(num_cells))]
    with torch.inference_mode(False):
        return torch.tensor(strides, device=device), torch.tensor(first, device=device)[:, None]
