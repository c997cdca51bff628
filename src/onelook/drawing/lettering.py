"""Text in images: class names that fonts can write, and bitmaps of text to paste into images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from onelook.drawing.palette import RGB

logger = logging.getLogger(__name__)

# Families for the scripts that DejaVu Sans lacks, in order of preference; only those already installed are used.
FALLBACK_FAMILIES = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC",
    "Source Han Sans CN", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei",
    "SimHei", "Yu Gothic", "Malgun Gothic", "PingFang SC", "PingFang HK", "Hiragino Sans", "Heiti TC",
    "Apple SD Gothic Neo", "Arial Unicode MS", "Noto Sans Devanagari", "Noto Sans Thai", "Nirmala UI", "Leelawadee UI",
)  # fmt: skip
MAX_NAME_LENGTH = 28


def shown_name(names: Sequence[str], class_id: int) -> str:
    """A class name for images: one line, shortened in the middle, or `class 7` if no font can write it.

    >>> shown_name(["cat"], 0), shown_name(["cat"], 7)
    ('cat', 'class 7')
    """
    fallback = f"class {class_id}"
    if not 0 <= class_id < len(names):
        return fallback
    name = " ".join(str(names[class_id]).split())
    if not name:
        return fallback
    if not fonts_for(name):
        _warn_about_fonts(name)
        return fallback
    return shortened(name)


def shortened(text: str, limit: int = MAX_NAME_LENGTH) -> str:
    """`text` in at most `limit` characters, its middle replaced by an ellipsis.

    >>> shortened("northern rockhopper penguin", 13)
    'northe…enguin'
    """
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (limit - 1 - head) :].lstrip()}"


@lru_cache(maxsize=4096)
def fonts_for(text: str) -> tuple[str, ...]:
    """Font files that together have every character of `text`; none if no known font does."""
    default = default_font()
    missing = {ord(character) for character in text} - characters_of(default)
    if not missing:
        return (default,)
    for font in fallback_fonts().values():
        if not missing - characters_of(font):
            return (default, font)
    return ()


def default_font() -> str:
    """The font file that comes with matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic and more."""
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@lru_cache(maxsize=1)
def fallback_fonts() -> dict[str, str]:
    """Installed font families for other scripts and their files, in order of preference."""
    from matplotlib.font_manager import fontManager

    installed = {entry.name: entry.fname for entry in fontManager.ttflist if entry.name in FALLBACK_FAMILIES}
    return {family: installed[family] for family in FALLBACK_FAMILIES if family in installed}


@lru_cache(maxsize=32)
def characters_of(font: str) -> frozenset[int]:
    """Unicode code points that a font file has a glyph for."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(font).get_charmap())


@lru_cache(maxsize=4096)
def text_bitmap(text: str, font_px: int) -> npt.NDArray[np.uint8]:
    """Coverage of each pixel by the letters, (H, W) 0 to 255; H is the same for all texts of this size.

    Args:
        text: one line; a character without a font becomes a question mark.
    """
    from matplotlib.font_manager import get_font

    fonts = fonts_for(text)
    if not fonts:
        fonts = (default_font(),)
        text = "".join(letter if ord(letter) in characters_of(fonts[0]) else "?" for letter in text)
    font = get_font(list(fonts))
    font.set_size(font_px, 72)
    ascent = round(font_px * font.ascender / font.units_per_EM)
    descent = round(-font_px * font.descender / font.units_per_EM)
    font.set_text(text, 0)
    font.draw_glyphs_to_bitmap(antialiased=True)
    glyphs = np.array(font.get_image(), dtype=np.uint8)
    below = min(max(round(font.get_descent() / 64), 0), descent)
    bitmap = np.zeros((ascent + descent, glyphs.shape[1]), np.uint8)
    glyphs = glyphs[-(ascent + below) :]
    stop = ascent + below
    bitmap[stop - glyphs.shape[0] : stop] = glyphs
    bitmap.setflags(write=False)
    return bitmap


def text_patch(words: Sequence[str], font_px: int, *, ink: RGB, paper: RGB) -> npt.NDArray[np.uint8]:
    """`words` in one line on a filled rectangle with a small margin, (H, W, 3) RGB.

    Bitmaps of words are cached: a video has thousands of labels, but few names and 101 scores.
    """
    margin_x, margin_y, gap = max(2, font_px // 4), max(1, font_px // 12), font_px // 3
    bitmaps = [text_bitmap(word, font_px) for word in words]
    rows = bitmaps[0].shape[0]
    columns = sum(bitmap.shape[1] for bitmap in bitmaps) + gap * (len(bitmaps) - 1)
    coverage = np.zeros((rows + 2 * margin_y, columns + 2 * margin_x), np.uint8)
    left = margin_x
    for bitmap in bitmaps:
        coverage[margin_y : margin_y + rows, left : left + bitmap.shape[1]] = bitmap
        left += bitmap.shape[1] + gap
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    blends = np.array(paper, np.float32) * (1 - levels) + np.array(ink, np.float32) * levels
    return np.rint(blends).astype(np.uint8)[coverage]


def paste_patch(canvas: npt.NDArray[np.uint8], patch: npt.NDArray[np.uint8], *, left: int, top: int) -> None:
    """Paste `patch` into `canvas` as near to (left, top) as it fits; shrink it if it is larger than the canvas."""
    height, width = canvas.shape[:2]
    scale = min(width / patch.shape[1], height / patch.shape[0])
    if scale < 1:
        size = max(1, int(patch.shape[1] * scale)), max(1, int(patch.shape[0] * scale))
        patch = cv2.resize(patch, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    rows, columns = patch.shape[:2]
    left, top = min(max(left, 0), width - columns), min(max(top, 0), height - rows)
    canvas[top : top + rows, left : left + columns] = patch


@lru_cache(maxsize=1)
def _warn_about_fonts(name: str) -> None:
    logger.warning(
        "no installed font can write the class name `%s`; images show `class <id>` instead\n"
        "hint: install a font of its script, such as Noto Sans CJK",
        name,
    )
