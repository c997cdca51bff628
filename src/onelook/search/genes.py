"""The hyperparameters that are searched, their ranges and the size of their mutations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DECIMALS = 5


@dataclass(frozen=True)
class Gene:
    """How one hyperparameter is searched.

    Attributes:
        gain: size of its genetic mutations relative to those of others; 0 keeps it fixed in all searches.
    """

    gain: float
    low: float
    high: float
    log: bool = False


GENES: dict[str, Gene] = {
    "lr0": Gene(1, 1e-5, 0.1, log=True),
    "lrf": Gene(1, 0.01, 1.0, log=True),
    "momentum": Gene(0.3, 0.6, 0.98),
    "weight_decay": Gene(1, 0.0, 0.001),
    "warmup_epochs": Gene(1, 0.0, 5.0),
    "warmup_momentum": Gene(1, 0.0, 0.95),
    "warmup_bias_lr": Gene(1, 0.0, 0.2),
    "box": Gene(1, 0.02, 0.2, log=True),
    "cls": Gene(1, 0.2, 4.0, log=True),
    "cls_pw": Gene(1, 0.5, 2.0, log=True),
    "obj": Gene(1, 0.2, 4.0, log=True),
    "obj_pw": Gene(1, 0.5, 2.0, log=True),
    "anchor_t": Gene(1, 2.0, 8.0, log=True),
    "anchors": Gene(2, 2.0, 10.0),
    "fl_gamma": Gene(0, 0.0, 2.0),
    "hsv_h": Gene(1, 0.0, 0.1),
    "hsv_s": Gene(1, 0.0, 0.9),
    "hsv_v": Gene(1, 0.0, 0.9),
    "degrees": Gene(1, 0.0, 45.0),
    "translate": Gene(1, 0.0, 0.9),
    "scale": Gene(1, 0.0, 0.9),
    "shear": Gene(1, 0.0, 10.0),
    "perspective": Gene(0, 0.0, 0.001),
    "flipud": Gene(1, 0.0, 1.0),
    "fliplr": Gene(0, 0.0, 1.0),
    "mosaic": Gene(1, 0.0, 1.0),
    "mixup": Gene(1, 0.0, 1.0),
    "copy_paste": Gene(1, 0.0, 1.0),
}

Individual = dict[str, float]


def in_range(genes: Mapping[str, float]) -> Individual:
    """`genes` within their ranges and rounded to 5 decimals, in the order of the table; other names are left out.

    >>> in_range({"mosaic": 1.2, "lr0": 0.0123456})
    {'lr0': 0.01235, 'mosaic': 1.0}
    """
    return {
        name: round(min(max(float(genes[name]), gene.low), gene.high), DECIMALS)
        for name, gene in GENES.items()
        if name in genes
    }
