"""How an image is fitted into a frame: sizes and borders only; `data/augment/resize.py` moves the pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Letterbox:
    """An image fitted into a frame: first resized to `content_hw`, then bordered.

    Attributes:
        frame_hw: height and width of the result, pixels.
        content_hw: height and width of the image within it, pixels.
        origin_xy: left and top border, whole pixels.
    """

    frame_hw: tuple[int, int]
    content_hw: tuple[int, int]
    origin_xy: tuple[int, int]


def letterbox(
    size_hw: tuple[int, int],
    frame_hw: tuple[int, int],
    *,
    minimal: bool = False,
    upscale: bool = True,
    stride: int = 32,
) -> Letterbox:
    """Where an image of `size_hw` lies in a frame of `frame_hw`, centred, aspect ratio kept.

    Args:
        size_hw: height and width of the image, pixels, at least 1.
        frame_hw: height and width to fit into, pixels.
        minimal: cut the borders to the least that makes the frame a multiple of `stride`.
        upscale: allow a result larger than the image; without it, small images get wider borders.
        stride: used by `minimal` only.

    >>> fitted = letterbox((720, 1280), (640, 640), minimal=True)
    >>> fitted.frame_hw, fitted.content_hw, fitted.origin_xy
    ((384, 640), (360, 640), (0, 12))
    """
    (height, width), (frame_height, frame_width) = size_hw, frame_hw
    ratio = min(frame_height / height, frame_width / width)
    if not upscale:
        ratio = min(ratio, 1.0)
    content_height, content_width = max(1, round(height * ratio)), max(1, round(width * ratio))
    border_x, border_y = frame_width - content_width, frame_height - content_height
    if minimal:
        border_x, border_y = border_x % stride, border_y % stride
    return Letterbox(
        frame_hw=(content_height + border_y, content_width + border_x),
        content_hw=(content_height, content_width),
        origin_xy=(round(border_x / 2 - 0.1), round(border_y / 2 - 0.1)),
    )


def fitted_size(size_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of an image scaled so that its longer side is `side` pixels.

    >>> fitted_size((1080, 1920), 640)
    (360, 640)
    """
    ratio = side / max(size_hw)
    return max(1, round(size_hw[0] * ratio)), max(1, round(size_hw[1] * ratio))
