"""The common style of all charts, and how they are written; pyplot's global state is not touched."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from onelook.drawing.lettering import fallback_fonts
from onelook.drawing.palette import BASE_COLOURS, class_colour
from onelook.files.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

DPI = 200
TEXT_WIDTH_IN = 7.2  # two columns of a journal page: charts of this width are printed at their own size
FONT_PT = 8
TITLE_PT = 9
COLOUR_MAP = "cividis"  # perceptually uniform and equal for colour-blind readers: Nunez et al., PLoS ONE, 2018
LAB_WHITE, LAB_NAVY = (100.0, 0.0, 0.0), (28.0, 4.0, -34.0)  # L* 0 to 100, a*, b*
LINE_STYLES = ("-", "--", ":")
MARGIN_IN = 0.05
MEAN_COLOUR = "black"
MUTED_COLOUR = "0.55"


@contextmanager
def chart(path: Path, *, width_in: float = TEXT_WIDTH_IN, height_in: float) -> Iterator[Figure]:
    """A blank figure, written to `path` (.png or .jpg) when the block ends without an error.

    The user's matplotlib settings are ignored; class names are never parsed as formulas.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import imsave

    settings = {
        **matplotlib.rcParamsDefault,
        "font.family": ["DejaVu Sans", *fallback_fonts()],
        "font.size": FONT_PT,
        "axes.titlesize": TITLE_PT,
        "axes.labelsize": FONT_PT,
        "xtick.labelsize": FONT_PT,
        "ytick.labelsize": FONT_PT,
        "legend.fontsize": FONT_PT,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "text.parse_math": False,
        "figure.constrained_layout.h_pad": 0.06,
        "figure.constrained_layout.w_pad": 0.06,
    }
    settings.pop("backend", None)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        yield figure
        canvas.draw()
        image = _with_even_margin(np.asarray(canvas.buffer_rgba())[..., :3])
        file_format = path.suffix.lstrip(".").lower()
        crisp = {"quality": 95, "subsampling": 0} if file_format in {"jpg", "jpeg"} else {}
        buffer = io.BytesIO()
        imsave(buffer, image, format=file_format, dpi=DPI, pil_kwargs=crisp)
    write_bytes_atomic(path, buffer.getvalue())


def _with_even_margin(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A chart (H, W, 3) cropped to its ink and `MARGIN_IN` of white, for which savefig would draw three times."""
    has_ink = (image != 255).any(axis=2)
    rows, columns = (np.flatnonzero(has_ink.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return image
    margin = round(MARGIN_IN * DPI)
    inked = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(inked, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)


def colour_of(class_id: int) -> tuple[float, float, float]:
    """Colour of a class as matplotlib takes it, RGB from 0 to 1."""
    red, green, blue = class_colour(class_id)
    return red / 255, green / 255, blue / 255


def line_look(class_id: int) -> dict[str, Any]:
    """Colour and dash pattern of a class's curve: base colours solid, then dark ones dashed, then base ones dotted."""
    cycle, position = divmod(class_id, len(BASE_COLOURS))
    kind = cycle % len(LINE_STYLES)
    shade = position + len(BASE_COLOURS) * (1 if kind == 1 else 0)
    return {"color": colour_of(shade), "linestyle": LINE_STYLES[kind]}


@lru_cache(maxsize=1)
def white_to_blue() -> ListedColormap:
    """Colour map for shares, blank paper for nothing: a straight line in CIELAB, so that equal steps look equal."""
    from matplotlib.colors import ListedColormap

    share = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    lab = np.array(LAB_WHITE, np.float32) * (1 - share) + np.array(LAB_NAVY, np.float32) * share
    return ListedColormap(np.clip(cv2.cvtColor(lab[None], cv2.COLOR_Lab2RGB)[0], 0, 1), name="white_to_blue")


def light_grid(axes: Axes) -> None:
    """A faint grid behind the data."""
    axes.grid(visible=True, linewidth=0.4, color="0.88")
    axes.set_axisbelow(True)


def plain_log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis whose ticks read 0.01, 0.1, 1, 10, 100."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(base=10))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def write_placeholder(axes: Axes, reason: str) -> None:
    """Write `reason` in the middle of an otherwise blank panel."""
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color=MUTED_COLOUR)
