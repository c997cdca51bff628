"""Images as they are given in Python: files, arrays, tensors, Pillow's images, and lists of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onelook.errors import DataError
from onelook.files.bounded import printable
from onelook.files.images import Image, read_image
from onelook.inference.sources import find_media, is_video

WHAT_IS_TAKEN = "(H, W, 3) uint8 RGB arrays, (3, H, W) tensors, Pillow's images, or files"


@dataclass(frozen=True)
class ImageInput:
    """One image; a file is read when its pixels are asked for, and not kept.

    Attributes:
        path: the file; None for pixels that were given.
        array: the pixels that were given, (H, W, 3) uint8 RGB.
    """

    path: Path | None = None
    array: Image | None = None

    def pixels(self) -> Image:
        """(H, W, 3) uint8 RGB; DataError if the file is a video or no image."""
        if self.array is not None:
            return self.array
        assert self.path is not None
        if is_video(self.path):
            raise DataError(f"`{printable(self.path)}` is a video", hint="use `onelook.detect`, or the command")
        return read_image(self.path)


def given_images(source: Any) -> tuple[list[ImageInput], bool]:
    """The images that `source` names or holds, and whether it is just one.

    Args:
        source: a file, a folder or a pattern (see `find_media`); (H, W, 3) or (B, H, W, 3) uint8 RGB; (3, H, W) or
            (B, 3, H, W) tensors, uint8 or floats from 0 to 1, RGB; an image of Pillow; or a list of single images.

    Raises:
        DataError: it is none of that.
    """
    if isinstance(source, (str, Path)):
        _refuse_empty(source)
        paths = find_media(source)
        return [ImageInput(path) for path in paths], [Path(source)] == paths
    if isinstance(source, (np.ndarray, Tensor)) and source.ndim == 4:
        return [_single(image) for image in source], False
    if isinstance(source, Sequence) and not isinstance(source, (bytes, bytearray, memoryview)):
        return [_single(item) for item in source], False
    return [_single(source)], True


def _single(item: Any) -> ImageInput:
    if isinstance(item, (str, Path)):
        _refuse_empty(item)
        return ImageInput(Path(item))
    if isinstance(item, Tensor):
        return ImageInput(array=_of_tensor(item))
    pillow = sys.modules.get("PIL.Image")  # whoever holds one of its images has imported it
    if pillow is not None and isinstance(item, pillow.Image):
        return ImageInput(array=_of_pillow(item))
    if not isinstance(item, np.ndarray):
        raise DataError(f"a `{type(item).__name__}` is not an image", hint=WHAT_IS_TAKEN)
    check_image(item)
    return ImageInput(array=item)


def _refuse_empty(source: str | Path) -> None:
    """`Path("")` would be the current folder."""
    if source == "":
        raise DataError("a source is empty", hint="`.` is the current folder")


def check_image(array: npt.NDArray[Any]) -> None:
    """Refuse an array that is no image.

    Raises:
        DataError: it is not (H, W, 3) uint8, or empty.
    """
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or array.size == 0:
        raise DataError(f"an array of shape {array.shape} and type {array.dtype} is not an image", hint=WHAT_IS_TAKEN)


def _of_tensor(tensor: Tensor) -> Image:
    """(H, W, 3) uint8 of a (3, H, W) tensor."""
    shape = tuple(tensor.shape)
    if tensor.ndim != 3 or shape[0] != 3 or tensor.numel() == 0:
        raise DataError(f"a tensor of shape {shape} is not an image", hint=WHAT_IS_TAKEN)
    if tensor.layout != torch.strided or tensor.is_meta:
        raise DataError(f"a tensor of layout {tensor.layout} on {tensor.device} has no pixels", hint=WHAT_IS_TAKEN)
    values = tensor.detach().cpu()
    if values.is_floating_point():
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise DataError(
                f"a tensor of floats has values from {float(values.min()):g} to {float(values.max()):g}",
                hint="floats are from 0 to 1; divide by 255",
            )
        values = (values.float() * 255).round().to(torch.uint8)
    if values.dtype != torch.uint8:
        raise DataError(f"a tensor of type {tensor.dtype} is not an image", hint=WHAT_IS_TAKEN)
    return np.ascontiguousarray(values.permute(1, 2, 0).numpy())


def _of_pillow(image: Any) -> Image:
    """(H, W, 3) uint8, turned as its EXIF data say, as files are."""
    from PIL import ImageOps

    if image.mode in ("F", "I"):  # whose range nobody knows; Pillow would cut what is above 255
        raise DataError(f"an image of Pillow with the mode `{image.mode}` has no 8 bits", hint=WHAT_IS_TAKEN)
    try:
        turned = ImageOps.exif_transpose(image)
        turned.load()
    except (OSError, ValueError, SyntaxError) as problem:  # of a file that is closed, or damaged
        raise DataError(f"an image of Pillow cannot be decoded: {problem}", hint=WHAT_IS_TAKEN) from problem
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(turned) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return np.array(turned.convert("RGB"))
