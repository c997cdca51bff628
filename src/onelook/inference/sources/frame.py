"""One input image, and where it is from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onelook.data.media import VideoInfo
from onelook.files.bounded import printable
from onelook.files.image_bands import BandedImage


@dataclass(frozen=True)
class Frame:
    """One input image.

    Attributes:
        path: the image or video file; of a camera, stream or screen a name that files can bear.
        image: (H, W, 3) uint8 RGB; or one that is so large that it is decoded in bands, for tiles.
        number: position in the video, from 0; 0 for an image.
        video: what the video says about itself; None for an image.
        address: what it is called, if that is not the file: a web address without passwords, `camera 0`.
        is_live: whether it comes from a camera, stream or screen, which has no end.
        dropped: frames of a live source that were dropped so far, because newer ones were there.
    """

    path: Path
    image: npt.NDArray[np.uint8] | BandedImage
    number: int = 0
    video: VideoInfo | None = None
    address: str = ""
    is_live: bool = False
    dropped: int = 0

    @property
    def shown(self) -> str:
        """Where it is from, for people."""
        return self.address or printable(self.path)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.image.size_hw if isinstance(self.image, BandedImage) else (self.image.shape[0], self.image.shape[1])

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """The image as a whole, (H, W, 3) uint8 RGB; there is none of one that is decoded in bands."""
        assert not isinstance(self.image, BandedImage)
        return self.image
