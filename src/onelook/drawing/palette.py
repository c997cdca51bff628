"""One colour per class, the same in every image and distinguishable by colour-blind readers."""

from __future__ import annotations

RGB = tuple[int, int, int]

# Okabe and Ito, "Color Universal Design", 2008, without black; their pale yellow, which vanishes on white paper, is
# replaced by the wine of P. Tol's "muted" scheme (2021).
BASE_COLOURS: tuple[RGB, ...] = (
    (213, 94, 0),
    (0, 114, 178),
    (0, 158, 115),
    (136, 34, 85),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
)
BLACK: RGB = (0, 0, 0)
WHITE: RGB = (255, 255, 255)
# After the base colours come the same ones mixed with black, then with white; after 21 classes they repeat.
SHADES: tuple[tuple[RGB, float], ...] = ((BLACK, 0.0), (BLACK, 0.45), (WHITE, 0.5))


def class_colour(class_id: int) -> RGB:
    """Colour of a class, RGB from 0 to 255; 21 different ones, then they repeat.

    >>> class_colour(0), class_colour(7), class_colour(21)
    ((213, 94, 0), (117, 52, 0), (213, 94, 0))
    """
    cycle, position = divmod(class_id, len(BASE_COLOURS))
    towards, share = SHADES[cycle % len(SHADES)]
    red, green, blue = (
        round(own + (other - own) * share) for own, other in zip(BASE_COLOURS[position], towards, strict=True)
    )
    return red, green, blue


def text_colour(background: RGB) -> RGB:
    """Black or white, whichever has the higher contrast ratio (WCAG 2.1, section 1.4.3) on `background`.

    >>> text_colour((255, 255, 0)), text_colour((0, 0, 120))
    ((0, 0, 0), (255, 255, 255))
    """
    light = relative_luminance(background)
    return BLACK if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else WHITE


def relative_luminance(colour: RGB) -> float:
    """Luminance of an sRGB colour, 0 for black to 1 for white."""
    red, green, blue = (_linear(channel / 255) for channel in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
