"""What happens inside a network: the maps that its layers put out, noted while it predicts on an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from onelook.models.detector import DetectionModel


@dataclass(frozen=True)
class FeatureMap:
    """What a layer put out for one image.

    Attributes:
        row: row of the layer in the table of the model.
        kind: block of the layer, such as `C3`.
        values: (C, H, W) float32.
    """

    row: int
    kind: str
    values: npt.NDArray[np.float32]


class FeatureMaps:
    """Notes what the layers of a model put out; those of a copy too, if it is made after this.

    The head is left out: what it puts out are detections.
    """

    def __init__(self, model: DetectionModel) -> None:
        self._noted: list[FeatureMap] = []
        for plan, layer in zip(model.plans[:-1], model.model, strict=False):
            layer.register_forward_hook(_note_into(self._noted, plan.row))

    def take(self) -> tuple[FeatureMap, ...]:
        """The maps of the images since the last call, of each batch the first image."""
        noted = tuple(self._noted)
        self._noted.clear()
        return noted


def _note_into(noted: list[FeatureMap], row: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """A hook that is a plain function: a copy of the model then shares it, and with it the list."""

    def note(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        if output.ndim == 4:
            noted.append(FeatureMap(row, type(layer).__name__, output[0].detach().float().cpu().numpy()))

    return note
