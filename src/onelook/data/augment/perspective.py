"""Random rotation, scale, shear, perspective and shift of a canvas, as one matrix; labels and pixels follow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onelook.data.augment.draft import Draft, Stream
from onelook.geometry.affine import Matrix, projection, rotation, shear, transform_points, translation
from onelook.settings.hyperparameters import Hyperparameters

MIN_DENOMINATOR = 0.1  # of the perspective division, anywhere on the canvas: keeps the horizon out of the image


def draw(draft: Draft, stream: Stream) -> None:
    """How each canvas comes into the output: with all settings at 0, its middle onto that of the output."""
    for layer, canvas in enumerate(draft.canvases):
        matrix, gain = draw_perspective(
            stream(layer), draft.hyperparameters, canvas_hw=canvas.size_hw, output_hw=draft.output_hw
        )
        # Shifted by at most half a pixel, so that the anchor lands on a pixel edge: renderers can then resize.
        x, y = transform_points(matrix, np.array(canvas.anchor_xy, np.float64)).tolist()
        onto_pixel = translation(round(x) - x, round(y) - y) @ matrix
        draft.canvases[layer] = replace(canvas, to_output=onto_pixel, gain=gain)


def draw_perspective(
    rng: np.random.Generator,
    hyperparameters: Hyperparameters,
    *,
    canvas_hw: tuple[int, int],
    output_hw: tuple[int, int],
) -> tuple[Matrix, float]:
    """A matrix from canvas to output pixels, and the gain within it.

    The canvas centre is moved to the origin; then perspective, rotation with gain, shear, and a shift to about the
    centre of the output. A perspective that would bring the horizon into the canvas (which 0.001 does from 900 pixels
    on) is weakened, because points behind the horizon have no place in the output.
    """
    h = hyperparameters
    width, height = canvas_hw[1], canvas_hw[0]
    bend_x, bend_y = rng.uniform(-h.perspective, h.perspective, 2).tolist()
    degrees = rng.uniform(-h.degrees, h.degrees)
    gain = rng.uniform(1 - h.scale, 1 + h.scale)
    slant_x, slant_y = rng.uniform(-h.shear, h.shear, 2).tolist()
    shift_x, shift_y = rng.uniform(0.5 - h.translate, 0.5 + h.translate, 2).tolist()

    steepness = (abs(bend_x) * width + abs(bend_y) * height) / 2
    weaken = min(1.0, (1 - MIN_DENOMINATOR) / steepness) if steepness else 1.0
    matrix = (
        translation(shift_x * output_hw[1], shift_y * output_hw[0])
        @ shear(slant_x, slant_y)
        @ rotation(degrees, gain)
        @ projection(bend_x * weaken, bend_y * weaken)
        @ translation(-width / 2, -height / 2)
    )
    return matrix, gain
