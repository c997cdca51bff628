"""The pieces of the detection loss: decoded matches, soft class targets, and the cross-entropies.

Letters: n targets, K classes, R candidates of a match.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

FOCAL_ALPHA = 0.25
# Keeps the slope of x ** gamma finite at x = 0 for gamma below 1.
_LEAST_ERROR = 1e-12


def decode_matches(box_logits: Tensor, anchors: Tensor) -> Tensor:
    """Boxes that cells predict, (..., 4) cxcywh in cells, the centre relative to the cell.

    Args:
        box_logits: (..., 4) x, y, w, h as the network gives them.
        anchors: (..., 2) width, height in cells.

    The centre lies within -0.5 to 1.5 cells, the size within 0 to 4 anchors.
    """
    centres, sizes = torch.split(box_logits.sigmoid() * 2, 2, dim=-1)
    return torch.cat([centres - 0.5, sizes.square() * anchors], dim=-1)


def class_targets(class_ids: Tensor, num_classes: int, *, label_smoothing: float) -> Tensor:
    """(n, K) float32: 1 - label_smoothing / 2 at the class of each target, label_smoothing / 2 elsewhere.

    >>> class_targets(torch.tensor([1]), 3, label_smoothing=0.25)
    tensor([[0.1250, 0.8750, 0.1250]])
    """
    shape = (class_ids.shape[0], num_classes)
    targets = torch.full(shape, label_smoothing / 2, dtype=torch.float32, device=class_ids.device)
    return targets.scatter_(1, class_ids[:, None], 1 - label_smoothing / 2)


def objectness_targets(quality: Tensor, positions: Tensor, num_cells: int) -> Tensor:
    """(num_cells,) objectness targets: the quality at matched cells, 0 elsewhere.

    Where several matches share a cell the best quality counts, whatever their order.

    Args:
        quality: (R,) overlap of prediction and target, 0 where there is no match; below 0 counts as 0.
        positions: (R,) int64 cells.
        num_cells: number of cells of all maps together.
    """
    cells = torch.zeros(num_cells, dtype=quality.dtype, device=quality.device)
    return cells.scatter_reduce_(0, positions, quality.clamp(min=0), "amax")


def cross_entropy(logits: Tensor, targets: Tensor, *, positive_weight: float, focal_gamma: float) -> Tensor:
    """Binary cross-entropy of each logit, focal if `focal_gamma` is above 0.

    Args:
        logits: any shape.
        targets: same shape, 0 to 1.
        positive_weight: factor on the positive part.
        focal_gamma: exponent of the focal factor (Lin et al. 2017, "Focal Loss for Dense Object Detection", section 3),
            which here serves soft targets: p_t = y p + (1 - y)(1 - p), and alpha likewise.
    """
    weight = None if positive_weight == 1 else torch.full((), positive_weight, device=logits.device)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none")
    if focal_gamma == 0:
        return entropy
    error = targets * (-logits).sigmoid() + (1 - targets) * logits.sigmoid()  # 1 - p_t, without cancellation
    alpha = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    return entropy * alpha * error.clamp(min=_LEAST_ERROR) ** focal_gamma
