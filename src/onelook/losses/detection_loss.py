"""The training loss of an anchor-based detector: box, objectness and class terms over all output maps.

Letters: B images, L maps, A anchors, H, W cells, K classes, n matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onelook.geometry.iou import ciou
from onelook.losses.assignment import LayerMatches, assign
from onelook.losses.readout import OBJECTNESS, read_map
from onelook.losses.terms import class_targets, cross_entropy_mean, decode_matches, objectness_targets
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
class LossTerms:
    """The loss of a batch, all 0-d float32.

    Attributes:
        total: (box + obj + cls) * B, with gradient.
        box, obj, cls: the weighted terms, without gradient.
    """

    total: Tensor
    box: Tensor
    obj: Tensor
    cls: Tensor


class DetectionLoss:
    """Computes the loss from raw maps and targets, in float32 even under autocast.

    Values and gradients are finite for every finite input (logits up to 1e30). Same inputs, same threads: same bits.

    Args:
        anchor_grid: L maps with A anchors each.
        num_classes: K; with one class there is no class term.
        imgsz: side of the training images, pixels; scales the objectness term.
        hyperparameters: box, obj, cls, obj_pw, cls_pw, fl_gamma, label_smoothing and anchor_t are used.
        auto_balance: let the weights of the maps in the objectness term follow their losses; evaluation (no gradients
            enabled) never moves them.
        keep_duplicates: see `assign`.
    """

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
        # Kept in main memory, as targets are: matching there never waits for a GPU.
        self.anchor_grid = AnchorGrid(anchor_grid.anchors.cpu(), anchor_grid.strides.cpu())
        self.num_classes = num_classes
        self.hyperparameters = hyperparameters
        self.auto_balance = auto_balance
        self.keep_duplicates = keep_duplicates
        self.box_gain = hyperparameters.box * share
        self.obj_gain = hyperparameters.obj * share * (imgsz / 640) ** 2
        self.cls_gain = hyperparameters.cls * share * num_classes / 80
        self.balance = torch.tensor(_initial_balance(num_maps))
        self._reference_map = int((anchor_grid.strides - BALANCE_STRIDE).abs().argmin())

    def __call__(self, raw_maps: Sequence[Tensor], targets: Targets) -> LossTerms:
        """The loss of one batch.

        Args:
            raw_maps: L maps (B, A, H, W, 5 + K) of logits, finest first.
            targets: truth of the batch; may stay on the CPU while the maps are on a GPU.
        """
        device = raw_maps[0].device
        with torch.autocast(device.type, enabled=False):
            self._move_balance(device)
            matches = assign(
                targets,
                self.anchor_grid,
                [(raw_map.shape[2], raw_map.shape[3]) for raw_map in raw_maps],
                anchor_t=self.hyperparameters.anchor_t,
                keep_duplicates=self.keep_duplicates,
            )
            layers = [self._layer(raw_map, found.to(device)) for raw_map, found in zip(raw_maps, matches, strict=True)]
            box, obj_by_map, cls = (torch.stack(terms) for terms in zip(*layers, strict=True))
            terms = torch.stack(
                [
                    box.sum() * self.box_gain,
                    (obj_by_map * self.balance).sum() * self.obj_gain,
                    cls.sum() * self.cls_gain,
                ]
            )
            if self.auto_balance and torch.is_grad_enabled():
                self._update_balance(obj_by_map.detach())
            return LossTerms(terms.sum() * raw_maps[0].shape[0], *terms.detach().unbind())

    def state_dict(self) -> dict[str, list[float]]:
        """What training changed: the objectness weights of the maps, as plain numbers."""
        return {"balance": [float(weight) for weight in self.balance.tolist()]}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Go on from what `state_dict` gave."""
        self.balance = torch.tensor(state["balance"], dtype=torch.float32)

    def _layer(self, raw_map: Tensor, matches: LayerMatches) -> tuple[Tensor, Tensor, Tensor]:
        """Unweighted box, objectness and class term of one map."""
        settings = self.hyperparameters
        objectness_logits, matched = read_map(raw_map, matches.place)
        box_term = class_term = matched.new_zeros(())
        if len(matches) == 0:
            objectness = torch.zeros_like(objectness_logits)
        else:
            quality = ciou(decode_matches(matched[:, 0:OBJECTNESS], matches.anchors), matches.boxes)
            box_term = (1 - quality).mean()
            objectness = objectness_targets(quality.detach(), matches.place, objectness_logits.shape)
            if self.num_classes > 1:
                class_term = cross_entropy_mean(
                    matched[:, OBJECTNESS + 1 :],
                    class_targets(matches.class_ids, self.num_classes, label_smoothing=settings.label_smoothing),
                    positive_weight=settings.cls_pw,
                    focal_gamma=settings.fl_gamma,
                )
        objectness_term = cross_entropy_mean(
            objectness_logits, objectness, positive_weight=settings.obj_pw, focal_gamma=settings.fl_gamma
        )
        return box_term, objectness_term, class_term

    def _move_balance(self, device: torch.device) -> None:
        if self.balance.device != device:
            with torch.inference_mode(False):  # else an evaluation that comes first would spoil it for training
                self.balance = self.balance.to(device)

    def _update_balance(self, objectness_by_map: Tensor) -> None:
        """Move the weights so that every map's weighted objectness term comes out alike, very slowly."""
        target = 1 / objectness_by_map.clamp(min=_LEAST_OBJECTNESS)
        moved = BALANCE_DECAY * self.balance + (1 - BALANCE_DECAY) * target
        self.balance = moved / moved[self._reference_map]


def _initial_balance(num_maps: int) -> tuple[float, ...]:
    return THREE_MAPS_BALANCE if num_maps == len(THREE_MAPS_BALANCE) else OTHER_BALANCE[:num_maps]
