"""The interface of the heads of detectors; all other code uses heads through it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from onelook.models.decoding import Decoding


class Head(Protocol):
    """Features -> raw maps, and raw maps -> boxes.

    Attributes:
        num_classes: K.
        kept_in_32_bits: names of buffers that 16 bits would round.
        last_convolutions: names of the modules that give the outputs; they and what follows are not quantised.
    """

    num_classes: int
    kept_in_32_bits: ClassVar[tuple[str, ...]]
    last_convolutions: ClassVar[tuple[str, ...]]

    @property
    def strides(self) -> Tensor:
        """(L,) float32 pixels per cell of each map."""
        ...

    def take_strides(self, stride_px: Sequence[int]) -> None:
        """Take the pixels per cell of each map, also where the head came from tensors alone."""
        ...

    @property
    def one(self) -> Head | None:
        """A second set of layers that finds each object once; its raw maps follow those of the first."""
        ...

    @property
    def needs_nms(self) -> bool:
        """Whether several boxes may come out for one object."""
        ...

    def __call__(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw maps, L tensors (B, A, H, W, outputs): boxes in the head's own terms, and logits; L more of `one`."""
        ...

    def flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The raw maps as convolutions give them, L tensors (B, A * outputs, H, W)."""
        ...

    def decode(self, raw_maps: Sequence[Tensor]) -> Tensor:
        """(B, N, 5 + K) float32: cxcywh in input pixels, objectness, class probabilities."""
        ...

    def decoding(self) -> Decoding:
        """What `decode` does, as plain numbers."""
        ...

    def initialise(self, stride_px: Sequence[int], anchors: int | list[list[float]] | None) -> None:
        """Take strides and anchors, and bias the outputs for rare objects."""
        ...

    def expect_classes(self, objects_per_image: Mapping[int, float]) -> None:
        """Set the biases of untrained classes by how often they occur.

        Without effect for heads whose objectness expresses how rare objects are.

        Args:
            objects_per_image: class id -> mean number of its objects in an image.
        """
        ...

    def with_classes(self, given: Mapping[str, Tensor], num_given: int, common: Mapping[int, int]) -> dict[str, Tensor]:
        """State of this head in which the outputs of `common` classes are replaced by those of another head.

        Args:
            given: tensors of the other head, by their names in it.
            num_given: number of classes of the other head.
            common: class id here -> there.
        """
        ...
